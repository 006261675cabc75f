"""What every reconcile works with."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from stoker_operator.cluster.cache import Cache
from stoker_operator.cluster.waiting import Waiting
from stoker_operator.demand.book import DemandBook
from stoker_operator.inbox import Inbox
from stoker_operator.kube.client import Client
from stoker_operator.metrics import Metrics
from stoker_operator.pki.store import Certificates
from stoker_operator.planning.pod import Platform
from stoker_operator.reconcile.downloads import Downloads
from stoker_operator.reconcile.notes import Notes
from stoker_operator.reconcile.secrets import Presence


@dataclass(frozen=True, slots=True)
class Context:
    """Built once in the process, passed to every reconcile.

    cache  is read here; what a write is answered with goes to the `inbox`, like every other news
    now    a clock in UTC
    """

    client: Client
    cache: Cache
    inbox: Inbox
    waiting: Waiting
    platform: Platform
    certificates: Certificates
    presence: Presence
    demand: DemandBook
    downloads: Downloads
    notes: Notes
    metrics: Metrics
    now: Callable[[], dt.datetime]
