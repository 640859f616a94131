"""A temporary Slurm cluster on this machine for tests.

A replacement of sbatch cannot test that jobs on one node get different GPUs, that a dead node ends its job, or that a
refusal reaches the user. A real controller with several emulated nodes starts in about a second, as root or as an
ordinary user, without systemd, cgroups, accounting or a GPU: a fake GPU is a link to /dev/null, which Slurm counts,
locks and shows in CUDA_VISIBLE_DEVICES like any other.

The Debian or Ubuntu packages munge, slurmctld, slurmd and slurm-client are required; ``available`` names missing ones.
For experiments, start a cluster that runs until it is stopped::

    eval "$(python tests/slurm/mini_slurm.py start /tmp/mini)"
    sbatch --gpus=1 --wrap 'echo $CUDA_VISIBLE_DEVICES'
    python tests/slurm/mini_slurm.py stop /tmp/mini
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

NEEDED = ("sbatch", "slurmctld", "slurmd", "munged")
INSTALL = "apt-get install -y --no-install-recommends munge slurmctld slurmd slurm-client"
# Debian installs the daemons outside an ordinary user's PATH.
SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
DAEMONS = ("munged", "slurmctld", "slurmd")
# Started by the controller and the nodes: a runner of scripts, and the supervisor of each job step.
HELPERS = ("slurmscriptd", "slurmstepd")
# Variables of a surrounding job, or of a user's shell, that change the meaning of the commands below.
FOREIGN = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SCANCEL_")
# Slurm's job steps listen on sockets below the folder, whose whole path is limited to 107 characters.
LONGEST_FOLDER = 75
START_SECONDS = 30.0
QUEUE_SECONDS = 15.0
TERM_SECONDS = 8.0

# Measured with Slurm 22.05: nothing of it needs systemd, cgroups, a database or root.
CONFIGURATION = """\
ClusterName=mini
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
CredType=cred/munge
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobcomp.txt
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
DefMemPerCPU=500
GresTypes=gpu
ReturnToService=2
InactiveLimit=0
KillWait=5
JobRequeue=1
SlurmctldTimeout=30
SlurmdTimeout=60
PropagateResourceLimits=NONE
"""
NODE = (
    "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mb} Gres=gpu:{gpus} State=UNKNOWN\n"
)
PARTITION = "PartitionName=gpu Nodes={names} Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0\n"


def available() -> str:
    """Return an empty string when a cluster can be started here, else the missing programs and how to install them."""
    missing = [name for name in NEEDED if shutil.which(name, path=SEARCH) is None]
    return f"no {', '.join(missing)} on this machine: {INSTALL}" if missing else ""


@dataclass(frozen=True)
class Job:
    """A job that Slurm still has in its queue, as squeue shows it; ``node`` is empty while it waits."""

    id: str
    name: str
    state: str
    node: str


class MiniSlurm:
    """A Slurm cluster of emulated nodes n0, n1, ... in a folder of its own; several run side by side.

    Parameters
    ----------
    folder
        Holds everything the cluster writes; its path must be short.
    nodes
        How many nodes.
    cpus
        CPUs Slurm believes each node to have; nothing checks them against the machine.
    gpus
        Fake GPUs of each node.
    memory_mb
        Memory Slurm believes each node to have.
    """

    def __init__(self, folder: Path, nodes: int = 2, cpus: int = 8, gpus: int = 4, memory_mb: int = 16000) -> None:
        self.folder = folder.resolve()
        self.conf = self.folder / "slurm.conf"
        self.names = [f"n{index}" for index in range(nodes)]
        self.cpus, self.gpus, self.memory_mb = cpus, gpus, memory_mb
        if len(str(self.folder)) > LONGEST_FOLDER:
            raise ValueError(f"{self.folder} is longer than {LONGEST_FOLDER} characters: too long for Slurm's sockets")
        if nodes < 1 or gpus < 1:
            raise ValueError("at least one node and one GPU")

    def __enter__(self) -> MiniSlurm:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        """This process's environment for talking to this cluster, free of any other Slurm's variables."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {**kept, "SLURM_CONF": str(self.conf)}

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in this cluster's environment.

        Parameters
        ----------
        command
            The program and its arguments.
        check
            Raise when it fails; without it, what it wrote to standard error follows its output.

        Returns
        -------
        str
            What it wrote, without the last newline.

        Raises
        ------
        RuntimeError
            When it fails; the message has its standard error.
        """
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        if not check:
            return (done.stdout + done.stderr).strip()
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def jobs(self) -> list[Job]:
        """All jobs waiting, running or ending, from one squeue call."""
        # The name comes last: it alone may hold the separator.
        lines = self.run("squeue", "--noheader", "--array", "--format=%i|%T|%N|%j").splitlines()
        return [Job(id, name, state, node) for id, state, node, name in (line.split("|", 3) for line in lines)]

    def start(self) -> None:
        """Write the configuration, start all daemons and wait until every node is idle."""
        if self._processes():
            raise RuntimeError(f"a cluster runs in {self.folder} already")
        self._write()
        try:
            self._start_munged()
            self._daemon("slurmctld", "-c", "-f", str(self.conf))
            for name in self.names:
                self._start_slurmd(name)
            self._await_nodes(self.names)
        except BaseException:
            self._end_daemons()
            raise

    def node_down(self, name: str) -> None:
        """Kill a node and everything on it, and mark it as down, which Slurm would do after a minute."""
        self._kill(name)
        self.run("scontrol", "update", f"node={name}", "state=down", "reason=test")

    def node_up(self, name: str) -> None:
        """Start a dead node again and wait until Slurm uses it."""
        self._start_slurmd(name)
        self._await_nodes([name])

    def stop(self) -> None:
        """Cancel all jobs, and end all daemons and all processes of jobs; a stopped cluster may be stopped again.

        A process that has left its job's session and cleared its environment survives, since it cannot be identified.
        """
        try:
            if any(process.info["name"] == "slurmctld" for process in self._processes()):
                self._empty_queue()
        finally:
            self._end_daemons()

    def _write(self) -> None:
        for name in ("munge", "state", "log", "dev", *(f"spool/{node}" for node in self.names)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_key()
        for index in range(self.gpus):
            # A link, since Slurm shows CUDA_VISIBLE_DEVICES for devices only, not for files or bare counts.
            device = self.folder / "dev" / f"fakegpu{index}"
            if not device.is_symlink():
                device.symlink_to(os.devnull)
        port, *node_ports = _free_ports(1 + len(self.names))
        text = CONFIGURATION.format(folder=self.folder, user=pwd.getpwuid(os.getuid()).pw_name, port=port)
        for name, node_port in zip(self.names, node_ports, strict=True):
            text += NODE.format(name=name, port=node_port, cpus=self.cpus, gpus=self.gpus, memory_mb=self.memory_mb)
        self.conf.write_text(text + PARTITION.format(names=",".join(self.names)))
        devices = f"{self.folder}/dev/fakegpu[0-{self.gpus - 1}]"
        gres = f"AutoDetect=off\nNodeName={','.join(self.names)} Name=gpu File={devices}\n"
        (self.folder / "gres.conf").write_text(gres)

    def _write_key(self) -> None:
        key = self.folder / "munge" / "key"
        key.unlink(missing_ok=True)
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

    def _start_munged(self) -> None:
        folder = self.folder / "munge"
        paths = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        # Forced, because it refuses folders that other users cannot enter, and temporary folders of tests are such.
        self._daemon("munged", "--force", *(f"--{option}={folder / name}" for option, name in paths.items()))

    def _start_slurmd(self, name: str) -> None:
        self._daemon("slurmd", "-N", name, "-f", str(self.conf))

    def _daemon(self, program: str, *options: str) -> None:
        """Start a daemon, which puts itself into the background."""
        path = shutil.which(program, path=SEARCH)
        if path is None:
            raise RuntimeError(available())
        # A file, since a pipe would stay open as long as the daemon lives.
        with (self.folder / "log" / "start.log").open("a") as log:
            done = subprocess.run([path, *options], env=self.env, stdout=log, stderr=log, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} does not start\n{self._log_tails()}")

    def _await_nodes(self, names: list[str]) -> None:
        def ready() -> bool:
            shown = self.run("sinfo", "--noheader", "--Node", f"--nodes={','.join(names)}", "--format=%T", check=False)
            states = shown.split()
            # Not only idle: a node that comes back may be given a waiting job at once.
            return len(states) == len(names) and set(states) <= {"idle", "mixed", "allocated"}

        if not _wait(ready, START_SECONDS):
            raise RuntimeError(f"no idle nodes after {START_SECONDS:.0f} s\n{self._log_tails()}")

    def _log_tails(self, lines: int = 15) -> str:
        tails = []
        for path in sorted((*self.folder.glob("log/*.log"), *self.folder.glob("munge/log"))):
            tails += [f"== {path}", *path.read_text(errors="replace").splitlines()[-lines:]]
        return "\n".join(tails)

    def _empty_queue(self) -> None:
        ids = [job.id for job in self.jobs()]
        if ids:
            self.run("scancel", *ids, check=False)
            _wait(lambda: not self.jobs(), QUEUE_SECONDS)

    def _end_daemons(self) -> None:
        for process in self._processes():
            if process.info["name"] in DAEMONS:
                _send(process, signal.SIGTERM)
        _wait(lambda: not self._processes(), TERM_SECONDS)
        # Daemons that hang, and what Slurm lost sight of: processes of a job that had detached themselves.
        self._kill()

    def _kill(self, node: str | None = None) -> None:
        def ended() -> bool:
            left = self._processes(node)
            for process in left:
                _send(process, signal.SIGKILL)
            return not left

        if not _wait(ended, TERM_SECONDS):
            raise RuntimeError(f"cannot end {self._processes(node)}")

    def _processes(self, node: str | None = None) -> list[psutil.Process]:
        """All processes of this cluster or of one node: daemons, job steps and what runs in the jobs."""
        # By what processes show of themselves: after a kill, a pid file may name somebody else's process.
        shown = ["name", "status", "cmdline", "environ", "cwd"]
        placed = [(process, self._place(process)) for process in psutil.process_iter(shown)]
        return [process for process, place in placed if place is not None and node in (None, place)]

    def _place(self, process: psutil.Process) -> str | None:
        """Node of a process of this cluster, empty for one of the controller, None for a foreign process."""
        name, words, environ = process.info["name"], process.info["cmdline"] or [], process.info["environ"] or {}
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            return None
        if name in DAEMONS and f"{self.folder}/" in " ".join(words):
            return words[words.index("-N") + 1] if name == "slurmd" else ""
        # These overwrite their command line and environment; they stay where the logs are.
        if name in HELPERS and process.info["cwd"] == str(self.folder / "log"):
            return _step_node(process)
        if environ.get("SLURM_CONF") == str(self.conf):
            return environ.get("SLURMD_NODENAME")
        return None


def _step_node(process: psutil.Process) -> str:
    """Node of a job step, from the socket it listens on: <folder>/spool/<node>/<node>_<job>.<step>."""
    try:
        return next((Path(at.laddr).parent.name for at in process.net_connections("unix") if at.laddr), "")
    except psutil.Error:
        return ""


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    """Whether something came true within a time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below those the kernel hands to outgoing connections, which could take one meanwhile."""
    free = []
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                free.append(port)
        if len(free) == count:
            return free
    raise RuntimeError("no free ports")


def main() -> None:
    parser = argparse.ArgumentParser(description="Start a throw-away Slurm that stays until it is stopped.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="fail, and say what is missing, where Slurm cannot be started")
    start = actions.add_parser("start", help="start one, and print what the environment of its users needs")
    start.add_argument("folder", type=Path)
    start.add_argument("--nodes", type=int, default=2)
    start.add_argument("--gpus", type=int, default=4, help="of each node")
    stop = actions.add_parser("stop", help="cancel all jobs and end all daemons")
    stop.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.action == "stop":
        MiniSlurm(given.folder).stop()
    elif missing := available():
        raise SystemExit(missing)
    elif given.action == "start":
        cluster = MiniSlurm(given.folder, nodes=given.nodes, gpus=given.gpus)
        cluster.start()
        print(f"export SLURM_CONF={shlex.quote(str(cluster.conf))}")


if __name__ == "__main__":
    main()
