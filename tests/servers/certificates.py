"""A certificate authority for one run, and a certificate for localhost."""

from processes import program, run


class Authority:
    """Writes `ca.pem`, `chain.pem` and `key.pem` into a folder."""

    def __init__(self, folder):
        openssl = program("openssl", "openssl")
        self.ca = folder / "ca.pem"
        self.chain = folder / "chain.pem"
        self.key = folder / "key.pem"
        ca_key, request, extra = folder / "ca-key.pem", folder / "request.pem", folder / "leaf.cnf"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        run([openssl, "req", "-x509", *curve, "-keyout", ca_key, "-out", self.ca, "-days", "2",
             "-subj", "/CN=Tollgate test authority", *authority])
        run([openssl, "req", *curve, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost"])
        extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
                         "basicConstraints=critical,CA:FALSE\n")
        run([openssl, "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
             "-days", "2", "-extfile", extra, "-out", self.chain])
        for secret in (ca_key, self.key):
            secret.chmod(0o600)
