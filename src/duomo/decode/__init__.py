"""Writing token by token: sampling, batches that requests join and leave, beam search."""
