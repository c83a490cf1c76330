"""Pictures with boxes, as a table; `forms.read_scenes` tells the forms apart by their shape.

one form      coco, voc, yolo, kitti, cvat, tools (LabelMe, VIA, Label Studio …)
any shape     nested (JSON), tables, rows, texts, cells, masks, runs
shared        a scene, and what is left out of it and why
compose       scenes made from cut-outs
"""
