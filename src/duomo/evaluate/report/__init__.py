"""Pages that need nothing else: html (the scorecard), inspect, explore, and their plots as SVG."""
