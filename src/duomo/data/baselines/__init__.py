"""What the simple models are made of that every result is compared with: scikit-learn matrices, n-grams, a memory of texts."""
