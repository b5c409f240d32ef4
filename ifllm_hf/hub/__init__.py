"""Cards, publishing, and what a capture server sends: `cards`, `publish`, `collecting`."""
