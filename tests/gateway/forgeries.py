"""Tokens that must not let anybody in, by what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.issuer import NOW_S, Issuer, b64, hs

__all__ = ["forgeries"]


def forgeries(us: Issuer) -> dict[str, str]:
    """The corpus for a gateway that takes the tokens of `us`, by name."""
    return {
        **_without_a_signature(us),
        **_exchanged_algorithms(us),
        **_keys_of_their_own(us),
        **_headers(us),
        **_tampered(us),
        **_claims(us),
        **_shapes(us),
    }


def _nothing(_: bytes) -> bytes:
    return b""


def _without_a_signature(us: Issuer) -> dict[str, str]:
    names = ("none", "None", "NONE", "nOnE", "", " ", "null")
    return {
        **{f"alg {name!r}, unsigned": us.token({"alg": name}, sign=_nothing) for name in names},
        "alg none, rightly signed": us.token({"alg": "none"}),
        "our alg, unsigned": us.token(sign=_nothing),
        "our alg, signature of zeros": us.token(sign=lambda data: bytes(len(us.sign(data)))),
    }


def _exchanged_algorithms(us: Issuer) -> dict[str, str]:
    """The public key as the secret, and neighbours of the right algorithm."""
    jwk = json.dumps(us.public_jwk).encode()
    other: dict[str, str] = {
        "HS256 under the public PEM": us.token({"alg": "HS256"}, sign=hs(us.public_pem)),
        "HS256 under the public PEM, stripped": us.token({"alg": "HS256"}, sign=hs(us.public_pem.strip())),
        "HS256 under the public DER": us.token({"alg": "HS256"}, sign=hs(us.public_der)),
        "HS256 under the public JWK": us.token({"alg": "HS256"}, sign=hs(jwk)),
        "HS256 under no secret": us.token({"alg": "HS256"}, sign=hs(b"")),
        "HS256 under a guess": us.token({"alg": "HS256"}, sign=hs(b"secret")),
    }
    for alg in ("HS384", "HS512", "RS384", "RS512", "PS256", "ES256", "ES256K", "Ed25519", "Ed448", "hs256"):
        other[f"right signature, called {alg}"] = us.token({"alg": alg})
    for algorithm in ("HS256", "RS256", "EdDSA"):
        if algorithm != us.algorithm:
            other[f"right signature, called {algorithm}"] = us.token({"alg": algorithm})
            other[f"{algorithm} of somebody else"] = Issuer(algorithm, "theirs").token(
                sign=hs(b"theirs") if algorithm == "HS256" else None
            )
    return other


def _keys_of_their_own(us: Issuer) -> dict[str, str]:
    """Signed by somebody else, with every way of telling the gateway where the key would be."""
    them = Issuer("RS256" if us.algorithm == "HS256" else us.algorithm, "theirs")
    url = "http://127.0.0.1:9/keys"
    heads: dict[str, dict[str, Any]] = {
        "with no word about it": {},
        "under our kid": {"kid": us.kid},
        "their jwk inside": {"jwk": them.public_jwk},
        "their jwk inside, our kid": {"jwk": {**them.public_jwk, "kid": us.kid}, "kid": us.kid},
        "jku": {"jku": url},
        "jku and our kid": {"jku": url, "kid": us.kid},
        "x5u": {"x5u": url},
        "x5c": {"x5c": [b64(them.public_der)]},
        "x5t": {"x5t": "AAAA"},
        "kid is a file": {"kid": "../../../../dev/null"},
        "kid is a file with a NUL": {"kid": "/etc/passwd\0.pem"},
        "kid is an address": {"kid": url},
        "kid is a query": {"kid": "x' UNION SELECT 'key' --"},
        "kid is a list": {"kid": [us.kid]},
        "kid is an object": {"kid": {"$ne": ""}},
        "kid is a number": {"kid": 1},
        "kid is empty": {"kid": ""},
        "kid of 400 characters": {"kid": "k" * 400},
    }
    signed = {f"theirs, {name}": them.token({"alg": us.algorithm, **head}) for name, head in heads.items()}
    empty = us.token({"alg": "HS256", "kid": "../../../../dev/null"}, sign=hs(b""))
    return {**signed, "HS256 under the content of /dev/null": empty}


def _headers(us: Issuer) -> dict[str, str]:
    """Signed by us, with a header that no issuer of ours would write."""
    body = json.dumps(us.claims()).encode()
    return {
        "header without alg": us.token({"alg": ...}),
        "alg is a number": us.token({"alg": 256}),
        "alg is a list": us.token({"alg": [us.algorithm]}),
        "alg is an object": us.token({"alg": {"name": us.algorithm}}),
        "alg is null": us.token({"alg": None}),
        "alg with a NUL": us.token({"alg": us.algorithm + "\0"}),
        "crit names what we do not know": us.token({"crit": ["exp"], "exp": NOW_S + 600}),
        "crit is empty": us.token({"crit": []}),
        "crit is no list": us.token({"crit": "kid"}),
        "crit names what is missing": us.token({"crit": ["never-there"]}),
        "payload not encoded": us.token({"b64": False, "crit": ["b64"]}),
        "header is a list": us.token([us.algorithm]),
        "header is a text": us.token("alg"),
        "header is a number": us.token(7),
        "header is no JSON": us.raw(b"{alg:none}", body),
        "header is not UTF-8": us.raw(b'{"alg":"\xff\xfe"}', body),
        "header is empty": us.raw(b"", body),
        "header is huge": us.token({"typ": "x" * 600}),
        "header is nested deeply": us.raw(b'{"alg":' + b"[" * 900 + b"]" * 900 + b"}", body),
        "alg twice, ours first": us.raw(
            json.dumps({"alg": us.algorithm}).encode()[:-1] + b',"alg":"none"}', body, _nothing
        ),
        "alg twice, none first": us.raw(b'{"alg":"none","alg":"%s"}' % us.algorithm.encode(), body, _nothing),
    }


def _tampered(us: Issuer) -> dict[str, str]:
    """Good tokens after somebody has been at them."""
    header, body, signature = us.token().split(".")
    admin = b64(json.dumps(us.claims(role="server")).encode())
    eve = b64(json.dumps(us.claims(sub="eve")).encode())
    other = us.token(claims=us.claims(sub="eve")).split(".")[2]
    return {
        "another user under the old signature": f"{header}.{eve}.{signature}",
        "a role under the old signature": f"{header}.{admin}.{signature}",
        "the signature of another token": f"{header}.{body}.{other}",
        "signature cut": f"{header}.{body}.{signature[:-4]}",
        "signature twice": f"{header}.{body}.{signature}{signature}",
        "signature before body": f"{header}.{signature}.{body}",
        "claims twice": f"{header}.{body}{body}.{signature}",
        "four parts": f"{header}.{body}.{signature}.{signature}",
        "five parts, as if encrypted": f"{header}..{body}.{signature}.{signature}",
        "two parts": f"{header}.{body}",
        "one part": header,
        "no body": f"{header}..{signature}",
        "no header": f".{body}.{signature}",
    }


def _claims(us: Issuer) -> dict[str, str]:
    """Signed by us, and not good here or not now."""
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": NOW_S - 31},
        "ended in 1970": {"exp": 0},
        "no end": {"exp": ...},
        "end is null": {"exp": None},
        "end is a text": {"exp": str(NOW_S + 600)},
        "end is true": {"exp": True},
        "end is a list": {"exp": [NOW_S + 600]},
        "end is negative": {"exp": -1},
        "end is beyond all time": {"exp": 2**64},
        "end is not finite": {"exp": float("inf")},
        "end is not a number": {"exp": float("nan")},
        "not good yet": {"nbf": NOW_S + 31},
        "begins with a text": {"nbf": "now"},
        "begins never": {"nbf": None},
        "no user": {"sub": ...},
        "user is null": {"sub": None},
        "user is a number": {"sub": 7},
        "user is a list": {"sub": ["alice"]},
        "user is an object": {"sub": {"id": "alice"}},
        "user is empty": {"sub": ""},
        "user with a colon": {"sub": "alice:bob"},
        "user with a line": {"sub": "alice\r\nbob"},
        "user with a NUL": {"sub": "alice\0"},
        "user with a quote": {"sub": "alice'--"},
        "user with an emoji": {"sub": "alice🙂"},
        "user in another alphabet": {"sub": "аlice"},
        "user too long": {"sub": "a" * 65},
        "user with a slash": {"sub": "../alice"},
        "other audience": {"aud": "another"},
        "no audience": {"aud": ...},
        "audience is null": {"aud": None},
        "audience is among nobody": {"aud": []},
        "audience is part of ours": {"aud": "skein"},
        "audience begins as ours": {"aud": "skein-tests-more"},
        "audience is an object": {"aud": {"skein-tests": True}},
        "other issuer": {"iss": "https://evil.example"},
        "no issuer": {"iss": ...},
        "issuer is a list": {"iss": ["https://login.example"]},
        "issuer with a slash more": {"iss": "https://login.example/"},
    }
    return {name: us.token(claims=us.claims(**claims)) for name, claims in wrong.items()}


def _shapes(us: Issuer) -> dict[str, str]:
    """Signed by us, and no object of claims; or no token at all."""
    head = json.dumps({"alg": us.algorithm, "kid": us.kid}).encode()
    good = us.token()
    return {
        "claims are a list": us.token(claims=[us.claims()]),
        "claims are a text": us.token(claims="alice"),
        "claims are a number": us.token(claims=7),
        "claims are no JSON": us.raw(head, b"{sub:alice}"),
        "claims are not UTF-8": us.raw(head, b'{"sub":"\xff"}'),
        "claims are nested deeply": us.raw(head, b'{"sub":' + b"[" * 1_000 + b"]" * 1_000 + b"}"),
        "claims are empty": us.raw(head, b""),
        "huge": us.token(claims=us.claims(more="x" * 5_000)),
        "a JSON serialisation": b64(json.dumps({"payload": good, "signatures": []}).encode()),
        "only dots": "..",
        "not base64": "!!!.???.###",
        "the word Bearer again": f"Bearer.{good}",
        "a good token and more": f"{good}x.{good}",
    }
