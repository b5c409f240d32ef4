"""Cards, and publishing on the Hugging Face Hub: `cards`, `publish`."""
