"""How long a server asks to wait, in all the ways in which servers say so."""

import ssl
from email.utils import formatdate

import pytest

from training_monitor.analysis.model.trouble import error_of_cause, pause_of

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "secs"),
    [
        ({}, None),
        ({"Retry-After": "30"}, 30.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "1e300"}, 86400.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "2s", "x-ratelimit-remaining-tokens": "100"}, None),
        (
            {
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-requests": "9s",
                "x-ratelimit-remaining-requests": "4",
            },
            2.0,
        ),
        ({"X-RateLimit-Reset": str(int((NOW + 40) * 1000))}, 40.0),
        ({"X-RateLimit-Reset": str(int(NOW + 40))}, 40.0),
        ({"X-RateLimit-Reset": "12"}, 12.0),
        ({"X-RateLimit-Reset": "whenever"}, None),
    ],
)
def test_pause_is_what_the_headers_say(headers: dict[str, str], secs: float | None) -> None:
    assert pause_of(headers, now=NOW) == (None if secs is None else pytest.approx(secs))


def test_certificates_that_are_not_trusted_are_explained() -> None:
    unknown = ssl.SSLCertVerificationError(1, "certificate verify failed")
    unknown.verify_message = "unable to get local issuer certificate"
    outer = ConnectionError("Connection error.")
    outer.__cause__ = unknown
    error = error_of_cause(outer, asked="m at https://x/v1", hide=str)
    assert error.kind == "tls"
    assert "unable to get local issuer certificate" in str(error)
    assert "ca-certificates" in str(error)
    assert "SSL_CERT_FILE" in str(error)


def test_server_that_speaks_no_https_is_explained() -> None:
    error = error_of_cause(ssl.SSLError(1, "wrong version number"), asked="m at x", hide=str)
    assert error.kind == "tls"
    assert "does the server speak https" in str(error)
