"""From any source to batches of tensors, and from outputs back to answers.

in         sources reads with formats/ (one file's form), folders/ (what lies in a folder) and scenes/ (pictures with boxes)
as read    spill, cache, digests, remembered (what lies on disk)   objects, rasters, longform, totals (tables in other shapes)
looked at  audit, findings, profile, leaks, targets, uttered, near_duplicates, readable, cleaning
divided    split, shares, partition, dated, matched
learned    supervised, ahead (features and targets)   pairs, several, instructed, corpus (texts)   encode (columns to tensors)
stepped    loader, augment, picture_variations
answered   predictor, outputs, tracking, text_metrics   baselines/ (the simple models that answers are compared with)
"""
