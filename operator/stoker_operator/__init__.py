"""Makes the cluster match the spec: reconciles Deployments onto GPU pools."""
