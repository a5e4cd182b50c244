"""The Fine-tune dock."""
