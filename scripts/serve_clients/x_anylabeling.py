"""Asks by X-AnyLabeling's own client: python x_anylabeling.py URL --source FOLDER [--token TOKEN] [--image FILE]

FOLDER is the unpacked wheel of x-anylabeling-cvhub (4.2.1). The module of its client is run as it is; the window
system that it imports is replaced. Needs numpy, pillow, opencv-python-headless and requests.
"""
import importlib.util
import sys
import tempfile
import types
from pathlib import Path

at = sys.argv.index("--source")
source = Path(sys.argv[at + 1])
del sys.argv[at : at + 2]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from common import arguments, check_mask  # noqa: E402

args = arguments(__doc__)


def fake(name, **members):
    """A module of the given members, with the packages around it."""
    parts = name.split(".")
    for i in range(1, len(parts)):
        package = sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        package.__path__ = []
    module = types.ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    sys.modules[name] = module


class Shape:
    def __init__(self, **members):
        self.points = []
        self.__dict__.update(members)

    def add_point(self, point):
        self.points.append(point)


class Model:
    def __init__(self, config, on_message):
        self._config = self.config = config
        self.on_message = on_message


class Result:
    def __init__(self, shapes, replace=True, description=""):
        self.shapes, self.replace, self.description = shapes, replace, description


class Translated:
    @staticmethod
    def translate(_context, text):
        return text


class Logger:
    def __getattr__(self, level):
        return lambda text: print(f"  {level}: {str(text)[:120]}") if level != "debug" else None


services = "anylabeling.services.auto_labeling"
core = types.SimpleNamespace(QPointF=lambda x, y: (x, y))
fake("PyQt6", QtCore=core)
fake("PyQt6.QtCore", QCoreApplication=Translated)
fake("PyQt6.QtWidgets", QApplication=None)
fake("anylabeling.views.labeling.shape", Shape=Shape)
fake("anylabeling.views.labeling.logger", logger=Logger())
fake("anylabeling.views.labeling.utils.opencv", qt_img_to_rgb_cv_img=None)
fake(f"{services}.model", Model=Model)
fake(f"{services}.types", AutoLabelingResult=Result)
path = source / "anylabeling/services/auto_labeling/remote_server.py"
spec = importlib.util.spec_from_file_location(f"{services}.remote_server", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

messages = []
settings = {"server_url": args.url, "api_key": args.token}
client = module.RemoteServer({"timeout": 60, "remote_server_settings": settings}, messages.append)
models = client.get_available_models()
assert models, "no models"
name = next(iter(models))
print("model:", name, models[name])
client.set_model_id(name)
file = Path(tempfile.mkdtemp()) / "a.png"
file.write_bytes(args.bytes)
point = {"type": "point", "data": [args.x, args.y], "label": 1}
box = {"type": "rectangle", "data": [args.width // 4, args.height // 4, args.width // 2, args.height // 2], "label": 1}
for what, marks in [("a point", [point]), ("a box", [box]), ("no marks", [])]:
    client.set_auto_labeling_marks(marks)
    result = client.predict_shapes(object(), str(file))
    assert not messages, messages
    for shape in result.shapes:
        mask = np.zeros((args.height, args.width), np.uint8)
        cv2.fillPoly(mask, [np.array(shape.points, np.int32)], 1)
        check_mask(mask, args, f"{what}: {shape.label}, a {shape.shape_type} of {len(shape.points)} corners")
    assert result.shapes or not marks
