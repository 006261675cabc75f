"""Model files in, named tensors out: safetensors and GGUF; and the text side of a model."""
