"""Certificates of the cluster's own authority: when they are issued, and how."""
