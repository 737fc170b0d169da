"""The results as Markdown, in the form of docs/results.md."""

import parity

TRAINING = "| case | package | images/s | ms/step | TFLOP/s | MFU | peak GiB | time ratio | memory ratio |"


def markdown(result):
    """`result`: what bench.py writes as JSON."""
    rows = result["rows"]
    parts = [head(result), health(rows), training(rows), end_to_end(rows), loading(rows), same(rows), missing(rows)]
    return "\n".join(part for part in parts if part)


def head(result):
    lines = [f"- {name}: {value}" for name, value in result["machine"].items() if value]
    lines.append(f"- command: `{result['command']}`, {result['seconds']:.0f} s")
    if result["tiny"]:
        lines.append("- **a rehearsal at tiny sizes: the figures say nothing about speed**")
    return "\n".join(lines) + "\n"


def measured(rows, table):
    return [row for row in rows if row["table"] == table and row["status"] == "measured"]


def table(header, lines):
    if not lines:
        return ""
    rule = "|" + "---|" * (header.count("|") - 1)
    return "\n".join([header, rule, *lines]) + "\n"


def cells(*values):
    return "| " + " | ".join(values) + " |"


def number(value, digits=1):
    return "" if value is None else f"{value:,.{digits}f}"


def percent(value):
    return "" if value is None else f"{100 * value:.0f} %"


def gib(value):
    return "" if value is None else f"{value / 2**30:.1f}"


def health(rows):
    found = measured(rows, "health")
    lines = [f"- {row['case']}: {row['figures']['note']}" for row in found]
    for row in found:
        if "bf16_tflops" in row["figures"]:
            figures = row["figures"]
            lines.append(f"- products of large matrices: {figures['bf16_tflops']:.1f} TFLOP/s in bf16, "
                         f"{figures['fp32_tflops']:.1f} in fp32")
    return "\n".join(lines) + "\n" if lines else ""


def training(rows):
    """Ratios are Sonotune's over the package's of the same case, in the package's row: below 1, Sonotune is
    faster or smaller."""
    found = measured(rows, "training")
    ours = {row["case"]: row["figures"] for row in found if row["package"] == "sonotune"}
    lines = []
    for row in sorted(found, key=lambda row: [r["case"] for r in found].index(row["case"])):
        figures = row["figures"]
        own = ours.get(row["case"]) if row["package"] != "sonotune" else None
        lines.append(cells(
            row["case"], row["package"], number(figures["images_per_second"]),
            number(1000 * figures["step_seconds"]), number(figures.get("tflops")), percent(figures.get("mfu")),
            gib(figures["peak_bytes"]), ratio(own, figures, "step_seconds"), ratio(own, figures, "peak_bytes")))
    return table(TRAINING, lines)


def ratio(ours, theirs, key):
    if ours is None or not ours.get(key) or not theirs.get(key):
        return ""
    return f"{ours[key] / theirs[key]:.2f}"


def end_to_end(rows):
    lines = [
        cells(row["case"], number(row["figures"]["images_per_second"]), number(1000 * row["figures"]["step_seconds"]),
              percent(row["figures"]["data_wait"]), gib(row["figures"]["peak_bytes"]))
        for row in measured(rows, "end_to_end")]
    return table("| training with the loader | images/s | ms/step | data wait | peak GiB |", lines)


# They load what another row does.
LOADED_BEFORE = ("attention/", "resnet/fp32", "resnet/tf32")


def loading(rows):
    found = measured(rows, "loading") + measured(rows, "training")
    lines = [
        cells(row["case"], number(row["figures"]["loader_images_per_second"]))
        for row in found
        if row["figures"].get("loader_images_per_second") and not row["key"].startswith(LOADED_BEFORE)]
    return table("| loader alone, into the memory that the device copies from | images/s |", lines)


def same(rows):
    lines = []
    for row in measured(rows, "parity"):
        figures = row["figures"]
        verdict = "within" if figures["within"] else "**beyond**"
        lines.append(cells(
            row["case"], f"{figures['loss_difference']:.1e}", figures["loss_place"],
            f"{figures['score_difference']:.1e}", figures["score_place"], verdict))
    header = (f"| CPU against GPU, fp32 | loss, relative (≤ {parity.LOSS_BOUND:g}) | at "
              f"| score, absolute (≤ {parity.SCORE_BOUND:g}) | at | bounds |")
    return table(header, lines)


def missing(rows):
    lines = [
        f"- {row['case']} ({row['package']}): {row['status']}, {row['why']}"
        for row in rows if row["status"] != "measured"]
    return "Not measured:\n\n" + "\n".join(lines) + "\n" if lines else ""
