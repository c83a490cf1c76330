"""What everything else stands on; nothing here knows a task, a model or a stage.

the contract  contract, find (tasks and models by name), recipe and config (settings), errors
data          table, kinds/ (what a column holds), tensors, steps   films, scans (decoders)   word_patterns
a run         run (its folder), files (whole or not at all), pretrained, size_limits
execution     device, kernels, flops, runtime
chat          dialogue, template (rendered in template_child)
words         messages and retranslated (Chinese in zh/), reporter, parser, stderr
"""
