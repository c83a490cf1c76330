"""The whole journey on one local page (page/).

let in        server, guard
rooms         app (the calls): look (data), form (settings), jobs (trainings), runs, trying (with beside), served   place: the folder
"""
