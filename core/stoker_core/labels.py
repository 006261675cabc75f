"""Labels and annotations on Kubernetes objects that the operator writes and gateways read."""

PREFIX = "stoker.dev/"

ACCOUNT = PREFIX + "account"  # on namespaces: whose they are
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"

DEPLOYMENT = PREFIX + "deployment"
DEPLOYMENT_UID = PREFIX + "deployment-uid"
MODEL = PREFIX + "model"
POOL = PREFIX + "pool"
REGION = PREFIX + "region"
TIER = PREFIX + "tier"
PLAN = PREFIX + "plan"  # digest of what the pods of a workload run: tells updated ones from old ones

WORKER = "worker"
MANAGER = "stoker-operator"
