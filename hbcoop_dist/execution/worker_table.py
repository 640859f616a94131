"""Connected workers: what each has loaded and runs, how long batches take, and which nodes fail everything."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass, field

from hbcoop_dist.clusters.pool_cluster import PoolCluster
from hbcoop_dist.clusters.pool_jobs import pools_for
from hbcoop_dist.core.tasks import Source
from hbcoop_dist.execution.scheduler import WorkerSlot

PREFETCH_DEPTHS = ((1.0, 3), (10.0, 2))
"""(Seconds, number of batches that a worker holds when a batch takes at most that long), so that it never waits for the
next. Longer batches are sent singly, since a batch that waits behind another cannot go to a worker that is free."""
MAX_DEPTH = PREFETCH_DEPTHS[0][1]
MAX_NODE_FAILURES = 5
"""Consecutive failures of different batches after which a node is excluded if the same model runs on others."""
ESTIMATE_BATCHES = 200


class RuntimeEstimate:
    """Seconds per batch, from the latest batches of every model."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=ESTIMATE_BATCHES))
        self._quantiles: dict[str, float] = {}

    def add(self, model: str, seconds: float) -> None:
        """Add the runtime of a batch.

        Parameters
        ----------
        model : str
        seconds : float
        """
        self._seconds[model].append(seconds)
        self._quantiles.pop(model, None)

    def upper(self, model: str) -> float | None:
        """Return the 95th percentile of the runtimes of a model.

        Parameters
        ----------
        model : str

        Returns
        -------
        float or None
            Seconds; None before the first batch.
        """
        if model not in self._seconds:
            return None
        if model not in self._quantiles:
            # not numpy.quantile, which takes 40 times as long for so few values, after every batch
            runtimes = sorted(self._seconds[model])
            below, fraction = divmod(0.95 * (len(runtimes) - 1), 1)
            lower, upper = runtimes[int(below)], runtimes[min(int(below) + 1, len(runtimes) - 1)]
            self._quantiles[model] = lower + fraction * (upper - lower)
        return self._quantiles[model]


@dataclass(slots=True)
class Worker:
    """A connected worker.

    Attributes
    ----------
    address, name, host : str
    loaded : str or None
        Model of the last batch that was sent to it.
    tickets : list of int
        Batches that it has, in the order in which it runs them.
    fresh : bool
        Whether it has not finished any batch.
    """

    address: str
    name: str
    host: str
    loaded: str | None = None
    tickets: list[int] = field(default_factory=list)
    fresh: bool = True


class WorkerTable:
    """The workers of a cluster.

    Parameters
    ----------
    cluster : PoolCluster
    sources : mapping of str to Source
        Sources of the batches.
    """

    def __init__(self, cluster: PoolCluster, sources: Mapping[str, Source]) -> None:
        self._cluster = cluster
        pools = {name: jobs.pool for name, jobs in cluster.pools.items()}
        self._pools = {name: pools_for(source, pools) for name, source in sources.items()}
        self._workers: dict[str, Worker] = {}
        self._idle: dict[str, Worker] = {}
        self._by_model: dict[str, dict[str, Worker]] = {}
        self._depths: dict[str, int] = {}
        self._hosts: dict[str, Counter[str]] = {}
        self._runtimes = RuntimeEstimate()
        self._failed_batches: dict[str, set[str]] = {}
        self._healthy_hosts: dict[str, set[str]] = {}
        self._expiring: set[str] = set()

    def __getitem__(self, address: str) -> Worker:
        return self._workers[address]

    @property
    def addresses(self) -> KeysView[str]:
        """Addresses of all workers."""
        return self._workers.keys()

    def join(self, address: str, name: str, host: str) -> None:
        """Add a worker that has connected.

        Parameters
        ----------
        address, name, host : str
        """
        self._workers[address] = self._idle[address] = Worker(address, name, host)
        self._update_hosts()

    def remove(self, address: str) -> Worker:
        """Remove a worker that has disappeared.

        Parameters
        ----------
        address : str

        Returns
        -------
        Worker
        """
        worker = self._workers.pop(address)
        self._idle.pop(address, None)
        self._unload(worker)
        self._update_hosts()
        return worker

    def assign(self, worker: Worker, ticket: int, model: str) -> None:
        """Register a batch that is sent to a worker.

        Parameters
        ----------
        worker : Worker
        ticket : int
        model : str
        """
        worker.tickets.append(ticket)
        self._idle.pop(worker.address, None)
        if worker.loaded != model:
            self._unload(worker)
            worker.loaded = model
            self._by_model.setdefault(model, {})[worker.address] = worker
            self._update_depth(model)

    def finish(self, worker: Worker, ticket: int) -> None:
        """Register that a worker has finished a batch, with or without success.

        Parameters
        ----------
        worker : Worker
        ticket : int
        """
        if ticket in worker.tickets:
            worker.tickets.remove(ticket)
        if not worker.tickets and worker.address in self._workers:
            self._idle[worker.address] = worker
        worker.fresh = False

    def record_success(self, worker: Worker, model: str, seconds: float) -> None:
        """Register the runtime of a successful batch.

        Parameters
        ----------
        worker : Worker
        model : str
        seconds : float
        """
        self._runtimes.add(model, seconds)
        self._update_depth(model)
        self._healthy_hosts.setdefault(model, set()).add(worker.host)
        self._failed_batches.pop(worker.host, None)

    def record_failure(self, worker: Worker, model: str, batch: str) -> None:
        """Register a failed batch; exclude the node after several, where the same model runs on others.

        Parameters
        ----------
        worker : Worker
        model : str
        batch : str
            Name of the batch.
        """
        host = worker.host
        failed = self._failed_batches.setdefault(host, set())
        failed.add(batch)
        others = self._healthy_hosts.get(model, set()) - {host} - self._cluster.excluded
        if len(failed) >= MAX_NODE_FAILURES and others and host not in self._cluster.excluded:
            self._cluster.exclude(host)

    def _unload(self, worker: Worker) -> None:
        if (model := worker.loaded) is not None:
            del self._by_model[model][worker.address]
            if not self._by_model[model]:
                del self._by_model[model]
            self._update_depth(model)

    def _update_depth(self, model: str) -> None:
        """Store how many batches a worker holds of a model that is loaded somewhere and runs quickly."""
        expected = self._runtimes.upper(model)
        depth = next((depth for most, depth in PREFETCH_DEPTHS if expected is not None and expected <= most), None)
        if model in self._by_model and depth is not None:
            self._depths[model] = depth
        else:
            self._depths.pop(model, None)

    def _update_hosts(self) -> None:
        """Name hosts by their Slurm nodes, which may be unknown when their workers connect."""
        self._hosts = {}
        for worker in self._workers.values():
            if (record := self._cluster.job_of(worker.name)) is not None:
                worker.host = record.state.node or worker.host
                self._hosts.setdefault(record.pool, Counter())[worker.host] += 1

    def free_slots(self, ready: Mapping[str, int]) -> Iterator[WorkerSlot]:
        """Iterate over the workers that can take a batch: idle ones, then those that will soon be idle.

        Parameters
        ----------
        ready : mapping of str to int
            Live view of the number of ready batches by model.

        Yields
        ------
        WorkerSlot
        """
        for worker in list(self._idle.values()):
            if not ready:
                return
            if worker.host not in self._cluster.excluded:
                yield self._slot(worker, ready)
        for depth in range(1, MAX_DEPTH):
            quick = [model for model, limit in self._depths.items() if model in ready and depth < limit]
            for worker in [worker for model in quick for worker in self._by_model[model].values()]:
                if len(worker.tickets) == depth and worker.host not in self._cluster.excluded:
                    yield self._slot(worker, ready)

    def _slot(self, worker: Worker, ready: Mapping[str, int]) -> WorkerSlot:
        pool = self._cluster.pool_of(worker.name)
        left = self._seconds_left(worker)

        def accepts(model: str) -> bool:
            return pool is not None and pool.name in self._pools[model] and self._in_time(worker, model, left)

        if not worker.tickets and ready and not any(self._in_time(worker, model, left) for model in ready):
            self._expiring.add(worker.name)
        return WorkerSlot(
            worker=worker.address,
            host=worker.host,
            device=pool.pool.device if pool is not None else "cpu",
            loaded=worker.loaded,
            only_loaded=bool(worker.tickets),
            elsewhere=self._elsewhere,
            accepts=accepts,
            loaded_workers=lambda model: len(self._by_model.get(model, ())),
        )

    def _elsewhere(self, model: str, hosts: frozenset[str]) -> bool:
        """Whether a worker on another host than these can run a model."""
        able = {host for pool in self._pools[model] for host in self._hosts.get(pool, ())}
        return bool(able - hosts - self._cluster.excluded)

    def _seconds_left(self, worker: Worker) -> float:
        record = self._cluster.job_of(worker.name)
        return float("inf") if record is None or record.state.ends is None else record.state.ends - time.time()

    def _in_time(self, worker: Worker, model: str, left: float) -> bool:
        """Whether another batch of a model should end before the walltime does; a fresh worker may always try."""
        expected = self._runtimes.upper(model)
        return worker.fresh or expected is None or (len(worker.tickets) + 1) * expected < left

    def report_demand(self, ready: Mapping[str, int]) -> None:
        """Report the demand of every pool to the cluster.

        Parameters
        ----------
        ready : mapping of str to int
            Number of ready batches by model.
        """
        self._update_hosts()
        demand: Counter[str] = Counter()
        for model, count in ready.items():
            # a model that several pools can run counts for the first
            demand[self._pools[model][0]] += count
        busy = [worker for worker in self._workers.values() if worker.tickets]
        for worker in busy:
            if (pool := self._cluster.pool_of(worker.name)) is not None:
                demand[pool.name] += len(worker.tickets)
        self._cluster.set_demand(demand, {worker.name for worker in busy}, self._expiring)
