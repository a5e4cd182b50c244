"""SNOMED CT codes for what segments are called; what is not known is an anatomical structure, no more.

The codes are those of pydicom's dictionary of DICOM PS3.16, looked up by keyword.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

__all__ = ["segment_codes"]

STRUCTURES = {
    "aorta": "Aorta", "artery": "Artery", "bladder": "UrinaryBladderStructure", "body": "BodyStructure",
    "bone": "Bone", "brain": "Brain", "bronchus": "Bronchus", "colon": "Colon", "esophagus": "Esophagus",
    "fat": "AdiposeTissue", "gallbladder": "Gallbladder", "heart": "Heart", "hippocampus": "Hippocampus",
    "kidney": "Kidney", "left kidney": "Kidney", "right kidney": "Kidney", "liver": "Liver", "lung": "Lung",
    "lungs": "Lung", "left lung": "Lung", "right lung": "Lung", "muscle": "Muscle", "oesophagus": "Esophagus",
    "pancreas": "Pancreas", "prostate": "Prostate", "spleen": "Spleen", "stomach": "Stomach", "thyroid": "Thyroid",
    "trachea": "Trachea", "vein": "Vein", "vertebra": "Vertebra",
}  # fmt: skip
ABNORMAL = {
    "anomaly": "MorphologicallyAbnormalStructure",
    "edema": "Edema", "lesion": "Lesion", "lesions": "Lesion", "neoplasm": "Neoplasm", "nodule": "Nodule",
    "oedema": "Edema", "tumor": "Neoplasm", "tumour": "Neoplasm",
}  # fmt: skip


def segment_codes(name: str) -> tuple[Code, Code]:
    """Return category and type of the structure called ``name``; the generic structure for an unknown name."""
    from pydicom.sr.codedict import codes

    said = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    # whether a name ends in a known word, so that "lung tumour" is a neoplasm and "left kidney" a kidney
    for known, category in ((ABNORMAL, "MorphologicallyAbnormalStructure"), (STRUCTURES, "AnatomicalStructure")):
        keyword = known.get(said) or known.get(said.rpartition(" ")[2])
        if keyword is not None and hasattr(codes.SCT, keyword):
            return getattr(codes.SCT, category), getattr(codes.SCT, keyword)
    return codes.SCT.AnatomicalStructure, codes.SCT.AnatomicalStructure
