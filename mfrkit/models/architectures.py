"""Where each architecture, and each reader of another program's files, lives; no torch here."""

from collections.abc import Mapping

# Architecture name -> where its class or factory lives.
ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "mobilefacenet": ("mfrkit.models.mobilefacenet", "MobileFaceNet"),
    "edgeface": ("mfrkit.models.edgeface", "EdgeFace"),
    "iresnet18": ("mfrkit.models.iresnet", "iresnet18"),
    "iresnet34": ("mfrkit.models.iresnet", "iresnet34"),
    "iresnet50": ("mfrkit.models.iresnet", "iresnet50"),
    "iresnet100": ("mfrkit.models.iresnet", "iresnet100"),
    "iresnet200": ("mfrkit.models.iresnet", "iresnet200"),
    "yunet": ("mfrkit.models.opencv_graph", "OpenCVGraph"),
    "facemesh": ("mfrkit.models.facemesh", "FaceMesh"),
    "mtcnn": ("mfrkit.models.mtcnn", "MTCNN"),
    "region": ("mfrkit.models.region", "RegionNet"),
    "completion-small": ("mfrkit.models.inpaint", "SmallCompletion"),
    "completion-paper": ("mfrkit.models.contextual", "ContextualCompletion"),
    "meer": ("mfrkit.models.meer", "MeerNet"),
    "eum": ("mfrkit.models.unmasking", "EmbeddingUnmasker"),
    "completion-guided": ("mfrkit.models.upsampler", "GuidedUpsampler"),
    "generative": ("mfrkit.models.generative", "GenerativeRecogniser"),
    "completing": ("mfrkit.models.completing", "build_completing"),
    "combined": ("mfrkit.models.combined", "build_combined"),
    "side-by-side": ("mfrkit.models.combined", "build_side_by_side"),
}

# Suffixes of other programs' files -> where their reader lives.
FOREIGN: Mapping[str, tuple[str, str]] = {
    ".pt": ("mfrkit.models.foreign", "load_foreign"),
    ".pth": ("mfrkit.models.foreign", "load_foreign"),
    ".ckpt": ("mfrkit.models.foreign", "load_foreign"),
    ".onnx": ("mfrkit.models.onnx_recogniser", "load_onnx"),
}
