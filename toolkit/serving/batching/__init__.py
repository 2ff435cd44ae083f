"""Which requests to compute next: batching policies, in a simulator and in a real engine.

    what comes          lengths, reading -> trace
    who is next         state -> policies -> scheduler; memory
    how long it takes   work -> cost (measured), or sizes -> roofline (from data sheets)
    on paper            simulate
    for real            paged, paged_attention -> engine, answer -> replay, calibrate
    what came of it     recording -> schedule -> metrics -> capacity; lanes, chrome_trace
    written oneself     small, informed -> stall_free

A policy is a plain function of what there is to do. ``simulate`` asks it on a clock of its own,
and serves an hour's trace in seconds; ``Engine`` asks the same policy, and a model computes.

Not in here: prefixes that requests share, and caches that keep them (toolkit.serving.kv_cache).
"""

from .answer import Answer
from .calibrate import calibrate
from .capacity import max_rate
from .chrome_trace import chrome_trace
from .cost import Calibrated, Cost
from .engine import Engine
from .informed import Informed
from .lengths import Exponential, Fixed, Lengths, LogNormal
from .memory import Blocks
from .metrics import Metrics, Percentiles, Targets, meets, metrics
from .policies import Continuous, Sarathi, SplitFuse, Static, VllmV0, VllmV1
from .recording import Recorder
from .replay import replay
from .roofline import Roofline
from .schedule import Schedule
from .scheduler import PolicyError, Scheduler
from .simulate import simulate
from .sizes import MODELS, ModelSizes
from .small import admit, chunk_sizes, latencies, make_room, summary
from .stall_free import StallFree
from .state import Batch, LiveRequest, Memory, Policy, Request, State
from .trace import Trace
from .work import Work, work_of

__all__ = [
    "MODELS",
    "Answer",
    "Batch",
    "Blocks",
    "Calibrated",
    "Continuous",
    "Cost",
    "Engine",
    "Exponential",
    "Fixed",
    "Informed",
    "Lengths",
    "LiveRequest",
    "LogNormal",
    "Memory",
    "Metrics",
    "ModelSizes",
    "Percentiles",
    "Policy",
    "PolicyError",
    "Recorder",
    "Request",
    "Roofline",
    "Sarathi",
    "Schedule",
    "Scheduler",
    "SplitFuse",
    "StallFree",
    "State",
    "Static",
    "Targets",
    "Trace",
    "VllmV0",
    "VllmV1",
    "Work",
    "admit",
    "calibrate",
    "chrome_trace",
    "chunk_sizes",
    "latencies",
    "make_room",
    "max_rate",
    "meets",
    "metrics",
    "replay",
    "simulate",
    "summary",
    "work_of",
]
