"""What operators see of a gateway: metrics, traces, request ids. Never prompts, outputs or keys."""
