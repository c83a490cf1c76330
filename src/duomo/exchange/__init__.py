"""Models from elsewhere and for elsewhere: run folders, Hugging Face folders, GGUF, weights of the common PyTorch layout."""
