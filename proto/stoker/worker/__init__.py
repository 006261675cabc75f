"""The wire, generated from the `.proto` files below."""
