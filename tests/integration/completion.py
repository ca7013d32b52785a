#!/usr/bin/python3
"""What bash completes with the scripts that the tools print.

    completion.py ETCDCTL ETCDUTL
"""
import os
import subprocess
import sys
import tempfile

from cluster import skip


def complete(script, name, *words):
    """The answers for the last of these words."""
    line = "source %s; COMP_WORDS=(%s); COMP_CWORD=%d; __%s_complete; printf '%%s\\n' \"${COMPREPLY[@]}\"" % (
        script, " ".join("'%s'" % w for w in (name,) + words), len(words), name)
    done = subprocess.run(["bash", "--norc", "-c", line], capture_output=True, text=True, check=True)
    return done.stdout.split()


def main():
    if not os.path.exists("/bin/bash"):
        skip("there is no bash")
    with tempfile.TemporaryDirectory() as directory:
        scripts = {}
        for tool in sys.argv[1:3]:
            name = os.path.basename(tool)
            scripts[name] = os.path.join(directory, name)
            with open(scripts[name], "w") as f:
                f.write(subprocess.run([tool, "completion", "bash"], capture_output=True, text=True,
                                       check=True).stdout)
            for shell in ("zsh", "fish", "powershell"):
                done = subprocess.run([tool, "completion", shell], capture_output=True, text=True)
                assert done.returncode == 0 and name in done.stdout
            done = subprocess.run([tool, "completion", "tcsh"], capture_output=True, text=True)
            assert done.returncode == 1 and "tcsh" in done.stderr
        utl, ctl = scripts["etcdutl"], scripts["etcdctl"]
        assert complete(utl, "etcdutl", "sn") == ["snapshot"]
        assert {"restore", "status"} <= set(complete(utl, "etcdutl", "snapshot", ""))
        assert complete(utl, "etcdutl", "snapshot", "restore", "f.db", "--data") == ["--data-dir"]
        assert complete(utl, "etcdutl", "-w", "json", "hashkv", "--re") == ["--rev"]
        assert complete(utl, "etcdutl", "--write-out=json", "snap") == ["snapshot"]
        assert complete(ctl, "etcdctl", "--endpoints", "h:1", "ge") == ["get"]
        assert "--prefix" in complete(ctl, "etcdctl", "get", "--pre")
        assert complete(ctl, "etcdctl", "member", "li") == ["list"]
    print("ok")


main()
