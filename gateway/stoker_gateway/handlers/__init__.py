"""The routes: observe, decide by calling others, act, report."""
