"""Who was discharged leaves the ward list, unless an alert still stands."""

from __future__ import annotations

from alerts.console.records import Live, TwinRecord
from alerts.console.ward import Ward


def test_a_discharged_patient_leaves_the_ward_and_comes_back_when_admitted_again() -> None:
    ward = Ward()
    ward.apply_twin(TwinRecord("p1"))
    ward.apply_twin(TwinRecord("p2"))
    patients = ward.patients
    assert ward.shown(patients["p1"])
    ward.apply_twin(TwinRecord("p1", live=Live(discharged=True)))
    assert not ward.shown(patients["p1"])
    assert ward.shown(patients["p2"])
    ward.apply_twin(TwinRecord("p1", discharged=True, live=Live()))
    assert ward.shown(patients["p1"])
