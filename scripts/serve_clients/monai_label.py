"""Asks by MONAI Label's own client: python monai_label.py URL [--token TOKEN] [--image FILE]

Sends the image as PNG, NIfTI and NRRD. Needs numpy, pillow, nibabel, pynrrd and monailabel (0.8.5; its client
alone: `pip install --no-deps monailabel`, `pip install requests`).
"""
import tempfile
from pathlib import Path

import nibabel
import nrrd
import numpy as np
from common import arguments, check_mask
from monailabel.client.client import MONAILabelClient, MONAILabelClientException

args = arguments(__doc__)
folder = Path(tempfile.mkdtemp())


def connected():
    """A client that is logged in. One with a token keeps the headers of its last form, so it can send one only."""
    client = MONAILabelClient(args.url, tmpdir=str(folder), client_id="check")
    if client.auth_enabled():
        try:
            client.auth_token("anybody", "wrong")
            raise SystemExit("a wrong password was taken")
        except MONAILabelClientException:
            pass
        client.update_auth(client.auth_token("anybody", args.token))
        assert client.auth_valid_token()
    return client


client = connected()
info = client.info()
model = next(iter(info["models"]))
print("model:", model, info["models"][model])
assert not client.train_status(check_if_running=True)

png, nifti, volume = folder / "a.png", folder / "a.nii.gz", folder / "a.nrrd"
png.write_bytes(args.bytes)
voxels = np.repeat(args.pixels.T[:, :, None], 3, axis=2)
affine = np.diag([-0.2, -0.3, 1.5, 1])
affine[:3, 3] = 10, 20, -30
nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), affine), nifti)
header = {
    "space": "left-posterior-superior",
    "space directions": np.diag([0.2, 0.3, 1.5]),
    "space origin": [-10, -20, -30],
}
nrrd.write(str(volume), voxels, header)


def read(path):
    """Labels as [x, y, z], and the affine map of a NIfTI file."""
    if path.endswith(".nrrd"):
        labels, read_header = nrrd.read(path)
        return labels, read_header
    loaded = nibabel.load(path)
    return np.asarray(loaded.dataobj), loaded.affine


point = {"foreground": [[args.x, args.y, 1]], "background": [], "label": "lesion"}
for path, z in [(nifti, 1), (volume, 1), (png, 0)]:
    point["foreground"][0][2] = z
    client = connected()
    session = client.create_session(str(path))["session_id"]
    assert client.get_session(session)["image"] == path.name
    out, details = client.infer(model, "", dict(point), session_id=session)
    labels, place = read(out)
    planes = [i for i in range(labels.shape[2]) if labels[:, :, i].any()]
    assert planes == [z], planes
    check_mask(labels[:, :, z].T, args, f"{path.name}, a session, {Path(out).name}, {details['label_names']}")
    if path == nifti:
        assert np.allclose(place, affine), place
    if path == volume:
        assert np.allclose(place["space directions"], header["space directions"]), place
        assert np.allclose(place["space origin"], header["space origin"]), place
    client.remove_session(session)
    try:
        client.get_session(session)
        raise SystemExit("a removed session is still there")
    except MONAILabelClientException:
        pass
    out, _ = client.infer(model, "", dict(point), file=str(path))
    check_mask(read(out)[0][:, :, z].T, args, f"{path.name}, a file")
client = connected()
client.upload_image(str(png), "case 1")
out, _ = client.infer(model, "case 1", dict(point))
check_mask(read(out)[0][:, :, 0].T, args, "a named upload")
