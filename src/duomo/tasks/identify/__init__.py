"""Who is it: pictures of people (or of any one of a kind) compared with pictures of those who are known."""
