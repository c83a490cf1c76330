"""Writing token by token: sampling, batches that requests join and leave, beam search.

the loop      loop (continuous batching), sampling, grammar (answers by a JSON schema), whole_characters, detokenize (tokens to text)
used by       engine (servers and tables), rewriting (a text read, another written): beam, length_penalty, threshold (a memory's answer)
what computes fastest (chosen by measurement): uncached, quantize, llama (llama.cpp)
"""
