"""Real processes that train together over gloo, forked from a server that has imported all."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")


def together(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``function`` returns in each of ``count`` ranks; raises when one of them ends badly."""
    CONTEXT.set_forkserver_preload(["pytest", "torch._dynamo", "trainonce.train.distributed.ranks"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children, ends = [], []
    for rank in range(count):
        receive, send = CONTEXT.Pipe(duplex=False)
        child = CONTEXT.Process(target=_rank, args=(rank, count, port, send, function, arguments))
        child.start()
        send.close()
        children.append(child)
        ends.append(receive)
    try:
        found = [end.recv() for end in ends]
    finally:
        for child in children:
            child.join(30)
            child.kill()
    for result in found:
        if isinstance(result, _Failed):
            raise AssertionError(result.text)
    return found


class _Failed:
    def __init__(self, text: str) -> None:
        self.text = text


def _rank(
    rank: int,
    count: int,
    port: int,
    send: Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    import torch

    torch.set_num_threads(1)
    try:
        result = function(*arguments)
    except BaseException:
        result = _Failed(traceback.format_exc())
    send.send(result)
    send.close()
    sys.stderr.flush()
    os._exit(0)  # gloo's threads may outlive the interpreter
