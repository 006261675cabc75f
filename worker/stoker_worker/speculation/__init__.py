"""Draft tokens that verification accepts or rejects. Nothing drafts yet."""
