"""From any source to batches of tensors, and from outputs back to answers.

in         sources reads with formats/ (one file's form), folders/ (what lies in a folder) and scenes/ (pictures with boxes)
as read    spill, cache, digests, file_index (what lies on disk)   objects, rasters, longform, totals (tables in other shapes)
looked at  audit, findings, profile, leaks, targets, spoken_column, near_duplicates, readable, cleaning
divided    split, split_sizes, partition, dated, neighbours, crossed, given_parts
learned    supervised, ahead, smoothed (features and targets)   pairs, several, instructed, corpus (texts)   encode (columns to tensors)
stepped    loader, augment, picture_variations
answered   predictor, outputs, tracking, text_metrics   baselines/ (the simple models that answers are compared with)
"""
