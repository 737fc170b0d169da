"""Tests of the parts that need neither a program nor a GPU: `python3 benches/gpu/test_bench.py`."""

import json
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.dont_write_bytecode = True

import bench
import budget
import flops
import gpus
import parity
import plan
import steps
import table


class Flops(unittest.TestCase):
    def test_vit_b_by_hand(self):
        # 64² tokens, of which the windows make 25 · 14² = 4900; in GFLOP, by hand.
        in_window = 8 * 4900 * 768**2 + 4 * 4900 * 196 * 768 + 4 * 4900 * 14 * 768 + 16 * 4096 * 768**2
        in_image = 8 * 4096 * 768**2 + 4 * 4096**2 * 768 + 4 * 4096 * 64 * 768 + 16 * 4096 * 768**2
        rest = 2 * 4096 * 768 * 768 + 2 * 4096 * 768 * 256 + 2 * 4096 * 9 * 256 * 256
        self.assertEqual(flops.encoder(flops.Vit()), 8 * in_window + 4 * in_image + rest)
        self.assertAlmostEqual(flops.encoder(flops.Vit()) / 1e9, 973, delta=1)

    def test_the_decoder_is_a_small_part_and_grows_with_the_objects(self):
        vit = flops.Vit()
        self.assertLess(flops.decoder(vit), 0.005 * flops.encoder(vit))
        self.assertEqual(flops.decoder(vit, 3), 3 * flops.decoder(vit))

    def test_windows_that_fit_are_not_padded(self):
        # Eight tokens a side: windows of four need no padding, windows of five are padded to ten.
        fits, padded = (flops.encoder(flops.Vit(side=128, window=window, global_blocks=0)) for window in (4, 5))
        self.assertLess(fits, padded)
        self.assertEqual(flops.training(flops.Vit()), 3 * (flops.encoder(flops.Vit()) + flops.decoder(flops.Vit())))


class Gpus(unittest.TestCase):
    def test_the_more_special_name_comes_first(self):
        self.assertEqual(gpus.peak_tflops("NVIDIA H100 80GB HBM3"), 989)
        self.assertEqual(gpus.peak_tflops("NVIDIA H100 PCIe"), 756)
        self.assertEqual(gpus.peak_tflops("NVIDIA H200"), 989)
        self.assertEqual(gpus.peak_tflops("NVIDIA A100-SXM4-80GB"), 312)

    def test_an_unknown_gpu_has_no_utilisation(self):
        for name in (None, "", "NVIDIA T1000", "NVIDIA A100 MIG 1g.10gb", "AMD EPYC"):
            self.assertIsNone(gpus.utilisation(100.0, name), name)
        self.assertAlmostEqual(gpus.utilisation(494.5, "NVIDIA H200"), 0.5)


class Limits(unittest.TestCase):
    def test_a_step_is_skipped_when_too_little_time_is_left(self):
        now = [0.0]
        limits = budget.Budget(100, clock=lambda: now[0])
        self.assertEqual(limits.limit(10, 60), 60)
        now[0] = 70.0
        self.assertEqual(limits.limit(10, 60), 30)
        now[0] = 95.0
        with self.assertRaisesRegex(budget.Skip, "takes about 10 s, and 5 s"):
            limits.limit(10, 60)

    def test_a_command_that_hangs_is_ended_with_its_children(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(budget.Failed, "not finished after 1 s; its last words: here"):
            budget.run(["sh", "-c", "echo here >&2; sleep 60 & wait"], 1)
        self.assertLess(time.monotonic() - begin, 30)

    def test_an_error_is_told_with_its_last_lines(self):
        with self.assertRaisesRegex(budget.Failed, "exit code 3: error: no such file"):
            budget.run(["sh", "-c", "echo 'error: no such file' >&2; exit 3"], 30)
        self.assertEqual(budget.run(["echo", "fine"], 30), "fine\n")


def record(split, step, **values):
    return {"split": split, "step": step, **values}


class Parity(unittest.TestCase):
    def test_equal_logs_do_not_differ(self):
        log = [record("train", 1, loss=2.0, loss_dice=0.5), record("val", 1, dice=0.5, hd95=None)]
        found = parity.compare(log, log)
        self.assertEqual((found["loss_difference"], found["score_difference"], found["within"]), (0, 0, True))

    def test_the_largest_difference_is_named(self):
        cpu = [record("train", 1, loss=2.0), record("train", 2, loss=2.0, loss_dice=0.5), record("val", 2, dice=0.5)]
        gpu = [record("train", 1, loss=2.0), record("train", 2, loss=2.0, loss_dice=0.505), record("val", 2, dice=0.6)]
        found = parity.compare(cpu, gpu)
        self.assertAlmostEqual(found["loss_difference"], 0.005 / 0.505)
        self.assertEqual(found["loss_place"], "loss_dice of step 2")
        self.assertAlmostEqual(found["score_difference"], 0.1)
        self.assertFalse(found["within"])

    def test_a_term_near_zero_is_compared_with_the_whole_loss(self):
        cpu, gpu = ([record("train", 1, loss=2.0, loss_iou=value)] for value in (1e-9, 2e-9))
        self.assertTrue(parity.compare(cpu, gpu)["within"])

    def test_a_number_on_one_side_only_is_no_small_difference(self):
        for bad in (None, float("nan")):
            cpu, gpu = [record("train", 1, loss=2.0)], [record("train", 1, loss=bad)]
            self.assertFalse(parity.compare(cpu, gpu)["within"])

    def test_logs_of_other_steps_are_refused(self):
        with self.assertRaisesRegex(ValueError, "the CPU logged"):
            parity.compare([record("train", 1, loss=2.0)], [record("train", 2, loss=2.0)])


def row(case, package, seconds, table="training", **figures):
    figures = {"step_seconds": seconds, "images_per_second": 8 / seconds, "peak_bytes": 2**31, **figures}
    return {"key": case + package, "table": table, "case": case, "package": package, "status": "measured",
            "figures": figures}


class Table(unittest.TestCase):
    def result(self, *rows):
        return {"rows": list(rows), "machine": {"GPU": "NVIDIA H200", "packages": ""}, "command": "bench",
                "seconds": 1.0, "tiny": False}

    def test_a_package_is_in_the_row_below_ours_with_the_ratio(self):
        text = table.markdown(self.result(
            row("a", "sonotune", 0.1, tflops=240.0, mfu=0.243), row("b", "sonotune", 0.3), row("a", "peer", 0.2)))
        lines = [line for line in text.splitlines() if line.startswith(("| a", "| b"))]
        self.assertEqual(lines[0], "| a | sonotune | 80.0 | 100.0 | 240.0 | 24 % | 2.0 |  |  |")
        self.assertEqual(lines[1], "| a | peer | 40.0 | 200.0 |  |  | 2.0 | 0.50 | 1.00 |")
        self.assertIn("| b | sonotune |", lines[2])
        self.assertNotIn("packages", text)

    def test_what_was_not_measured_is_listed_with_its_reason(self):
        failed = {"key": "k", "table": "training", "case": "a", "package": "peer", "status": "failed", "why": "no memory"}
        text = table.markdown(self.result(failed))
        self.assertIn("- a (peer): failed, no memory", text)
        self.assertNotIn("time ratio", text)

    def test_a_difference_beyond_its_bound_is_seen(self):
        figures = parity.compare([record("train", 1, loss=2.0)], [record("train", 1, loss=1.0)])
        text = table.markdown(self.result({
            "key": "p", "table": "parity", "case": "sam", "package": "sonotune", "status": "measured", "figures": figures}))
        self.assertIn("| sam | 5.0e-01 | loss of step 1 |", text)
        self.assertIn("**beyond**", text)


class Doctor(unittest.TestCase):
    def report(self, folder, status, code, device="cuda:0"):
        checks = [{"name": "clock", "status": "ok", "found": "2026"}, {"name": "disk", "status": status, "found": "full"}]
        environment = {"device": device, "device_name": "NVIDIA H200"}
        text = json.dumps({"checks": checks, "environment": environment, "speed": {"bf16_gflops": 7e5}})
        program = ["sh", "-c", f"echo '{text}'; exit {code}"]
        return steps.Context(program, "cuda", plan.Size(), Path(folder), None)

    def test_a_failed_check_is_named_and_the_gpu_is_known_all_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            ctx = self.report(folder, "failed", 1)
            with self.assertRaisesRegex(budget.Failed, "^disk: full$"):
                steps.doctor(ctx, 30)
            self.assertEqual(ctx.gpu_name, "NVIDIA H200")
            self.assertEqual(steps.doctor(self.report(folder, "ok", 0), 30)["bf16_tflops"], 700)

    def test_the_name_of_a_processor_is_not_that_of_a_gpu(self):
        with tempfile.TemporaryDirectory() as folder:
            ctx = self.report(folder, "ok", 0, device="cpu")
            self.assertIsNone(steps.doctor(ctx, 30)["device_name"])
            self.assertIsNone(ctx.gpu_name)


class Compiler(unittest.TestCase):
    def test_a_machine_without_a_compiler_is_recognised(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIsNone(steps.c_compiler({"PATH": folder}))
            self.assertIsNone(steps.c_compiler({"PATH": folder, "CC": "gcc-99"}))
            compiler = Path(folder) / "clang"
            compiler.write_text("")
            compiler.chmod(0o755)
            self.assertEqual(steps.c_compiler({"PATH": folder}), str(compiler))


class Plan(unittest.TestCase):
    def test_names_are_unique_and_the_published_sizes_come_first(self):
        keys = [step.key for step in plan.plan(plan.Size())]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertLess(keys.index("sam/8"), keys.index("peers/8/segment_anything"))
        self.assertEqual({step.table for step in plan.plan(plan.Size())},
                         {"health", "parity", "training", "end_to_end", "loading"})

    def test_the_least_of_what_matters_fits_into_the_time(self):
        least = sum(step.least for step in plan.plan(plan.Size()))
        self.assertLess(least, bench.BUDGET_SECONDS)

    def test_a_case_of_a_package_is_one_of_ours(self):
        found = plan.plan(plan.Size())
        ours = {step.case for step in found if step.package == "sonotune"}
        self.assertLessEqual({step.case for step in found}, ours)


class Rows(unittest.TestCase):
    def step(self, measure):
        return steps.Step("k", "training", "case", "sonotune", measure, 1, 10)

    def test_an_error_is_a_row_and_ends_nothing(self):
        def breaks(_ctx, _limit):
            return {}["step"]

        found = bench.measure(self.step(breaks), None, budget.Budget(100))
        self.assertEqual((found["status"], found["why"]), ("failed", "KeyError: 'step'"))
        found = bench.measure(self.step(breaks), None, budget.Budget(0))
        self.assertEqual(found["status"], "skipped")

    def test_results_of_other_sizes_are_not_completed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.json"
            self.assertEqual(bench.earlier(path, False), {})
            path.write_text(json.dumps({"tiny": True, "rows": []}))
            with self.assertRaisesRegex(SystemExit, "tiny sizes"):
                bench.earlier(path, False)

    def test_what_is_measured_is_kept_and_what_failed_is_measured_again(self):
        with tempfile.TemporaryDirectory() as folder:
            ctx = steps.Context(["sonotune"], "cuda", plan.Size(), Path(folder), {})
            calls = []

            def measure(_ctx, _limit):
                calls.append(1)
                return {"images_per_second": 2.0, "step_seconds": 4.0, "peak_bytes": None}

            everything = [steps.Step(key, "training", key, "sonotune", measure, 1, 10) for key in "abc"]
            done = {"a": row("a", "sonotune", 1.0), "c": row("c", "sonotune", 1.0)}
            result = {"rows": [], "tiny": False, "command": "", "raw": {}}
            bench.run(everything[:2], everything, ctx, budget.Budget(100), result, done)
            self.assertEqual([found["case"] for found in result["rows"]], ["a", "b", "c"])
            self.assertEqual(len(calls), 1)
            self.assertIn("| b | sonotune | 2.0 | 4,000.0 |", (Path(folder) / "results.md").read_text())

    def test_a_failed_step_and_a_difference_beyond_its_bound_are_told_by_the_exit_code(self):
        for found, wrong in (({"status": "failed"}, True), ({"status": "skipped"}, False),
                             ({"status": "measured", "figures": {"within": False}}, True),
                             ({"status": "measured", "figures": {"within": True}}, False)):
            self.assertEqual(bench.is_wrong(found), wrong, found)

    def test_json_has_no_infinity(self):
        self.assertEqual(bench.plain({"a": [float("inf"), 1.0]}), {"a": ["inf", 1.0]})


if __name__ == "__main__":
    unittest.main()
