"""Messages to token ids and token ids to text: what the gateway does with a model's `TextBundle`."""
