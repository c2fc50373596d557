"""A plan in words, for the eye."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

SHOWN = 8


def span(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def size(number: float) -> str:
    """Return bytes in the unit (of 1,000) that suits them."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number:.0f} B"


def count(number: float) -> str:
    """Return a large count in thousands, millions or billions."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f}{unit}"
    return f"{number:.0f}"


def table(rows: list[list[str]]) -> list[str]:
    """Return rows as lines of aligned columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def _download(row: Mapping[str, Any]) -> str:
    known = size(row["download_bytes"]) if row["download_bytes"] else ""
    unknown = f"{row['download_unknown']:.0f} unknown" if row["download_unknown"] else ""
    return " + ".join(part for part in (known, unknown) if part) or "-"


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    error, beyond = row.get("error_factor"), row.get("times_beyond_measured")
    return [
        *(name, f"{row['jobs']:.0f}", count(row["tokens"]) if row["tokens"] else "-", span(row["cpu_s"])),
        *(span(row["gpu_s"]) if row["gpu_s"] else "-", size(row["disk_bytes"]), _download(row)),
        f"x{error:.2f}" if error else "?" if "error_factor" in row and not row["measured_jobs"] else "-",
        f"{count(beyond)} times" if beyond else "",
    ]


def _costs(plan: Mapping[str, Any]) -> list[str]:
    head = ["stage", "jobs", "LM tokens", "CPU time", "or GPU time", "disk", "download", "error", "beyond measured"]
    total = _row("all", plan["all"])
    return table([head, *(_row(row["stage"], row) for row in plan["stages"]), total])


def _error(plan: Mapping[str, Any]) -> list[str]:
    error = plan["error"]
    lines = [
        f"CPU time is fitted on {error['jobs']} finished jobs of {len(error['runs'])} runs"
        + (f", times {error['speed']:.2f} for this machine's own jobs" if error["speed"] != 1.0 else "")
        + ". Each scale predicted by the others:"
    ]
    for left in error["left_out"]:
        told = (
            f"half of its jobs within x{left['half_within']:.2f}, nine of ten within x{left['nine_of_ten_within']:.2f}"
        )
        lines.append(
            f"  {left['scale']}: took {span(left['taken_s'])}, predicted {span(left['predicted_s'])} "
            f"(x{left['ratio']:.2f}); {told if left['half_within'] else 'no job above two seconds'}"
        )
    if not error["left_out"]:
        lines.append("  one scale alone: its error can't be told")
    return lines


def _gates(plan: Mapping[str, Any]) -> list[str]:
    if not plan["gates"]:
        return ["nothing is missing: no licence to accept, no file to get by hand, no token"]
    lines = ["missing:"]
    for gate in plan["gates"]:
        waits = f" ({len(gate['stages'])} stages wait)" if gate["stages"] else ""
        lines.append(f"  {'stops' if gate['stops'] else 'note '}  {gate['kind']}: {gate['id']}{waits}: {gate['fix']}")
    return lines


def _why(plan: Mapping[str, Any], every: bool) -> list[str]:
    if every:
        return ["why each job runs:", *(f"  {one['job']}: {one['reason']}" for one in plan["why"])]
    kinds = Counter("; ".join(part.split(":")[0] for part in one["reason"].split("; ")) for one in plan["why"])
    lines = [f"  {number} jobs: {kind}" for kind, number in kinds.most_common()]
    return ["why (--why names each job):", *lines] if lines else []


def _short(values: list[str]) -> str:
    return ", ".join(values[:SHOWN]) + (
        f" and {len(values) - SHOWN} more (--json has all)" if len(values) > SHOWN else ""
    )


def as_text(plan: Mapping[str, Any], every: bool = False) -> str:
    """Return the whole plan in words; ``every`` names each job with its reason."""
    total = plan["all"]
    lines = [
        f"scale {plan['scale']}: {total['jobs']:.0f} of {plan['jobs_in_all']} jobs would run",
        "",
        *_costs(plan),
        "",
        f"on {plan['cores']} cores like those that were measured: {span(plan['wall_s'])} at least "
        f"(longest chain {span(plan['longest_chain_s'])}); the largest job asks for {plan['memory_mb']:,} MiB",
        f"with one GPU: {span(total['gpu_s'])} of it and {span(total['cpu_beside_gpu_s'])} of cores, if it does "
        f"{plan['gpu_tflops']:g} TFLOP/s in practice. That is assumed, not measured; it is not added to the CPU time",
        "",
        *_error(plan),
    ]
    for title, values in (
        ("no finished job tells the time of", plan["not_measured"]),
        ("sizes taken as something", plan["guesses"]),
        ("downloads of unknown size", plan["unknown_downloads"]),
        ("licences of what is fetched", plan["licences"]),
    ):
        lines += [f"{title}: {_short(values)}"] if values else []
    return "\n".join([*lines, "", *_gates(plan), "", *_why(plan, every)]).rstrip()
