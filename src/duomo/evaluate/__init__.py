"""What a model is worth on rows that it never saw.

the figures   scorecard: baselines (fitted and timed), bootstrap (intervals), slices, worst_errors, progress (what more would bring)
read by       report/ (HTML), card (Markdown), notebook, compare (two runs)
"""
