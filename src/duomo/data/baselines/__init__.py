"""What the simple models are made of that every result is compared with.

classical   scikit-learn matrices of any table; hog: gradients of pictures
ngram       the statistical language model
memory      which text is most like a new one
"""
