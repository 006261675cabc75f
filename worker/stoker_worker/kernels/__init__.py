"""Code below the layers: native for CPUs."""
