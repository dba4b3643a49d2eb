"""Tokens that PyJWT makes, and the key set that belongs to them: `python tokens.py ISSUER AUDIENCE`, JSON on stdout."""

import json
import sys
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

issuer, audience = sys.argv[1:]
rsa_key = rsa.generate_private_key(65537, 2048)
KEYS = {
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
    "PS256": (rsa_key, RSAAlgorithm),
    "RS256": (rsa_key, RSAAlgorithm),
}

now = int(time.time())
claims = {"iss": issuer, "aud": [audience], "sub": "py", "iat": now, "exp": now + 600, "scope": "infer list"}
jwks, tokens = [], {}
for name, (key, algorithm) in KEYS.items():
    public = algorithm.to_jwk(key.public_key())
    jwks.append({**json.loads(public), "kid": name, "use": "sig", "alg": name})
    tokens[name] = jwt.encode(claims, key, algorithm=name, headers={"kid": name, "typ": "at+jwt"})
print(json.dumps({"jwks": {"keys": jwks}, "tokens": tokens}))
