"""Files through requests: an archive made in memory goes up, and files and archives come down."""

import io
import zipfile

from support import PYTHON_IMAGE, Containers, call, eventually, upload, zipped

# What the guide uploads in kind: a program, a list beside it, and a file in a folder; and a name that is not ASCII.
FILES = {
    "boot.py": b"import os\nprint('tags', os.environ['TAGS'])\nopen('/app/ran', 'w').write(str(os.getuid()))\n",
    "requirements.txt": b"requests==2.31.0\n",
    "data/config.json": b'{"setting": "value"}',
    "data/🚢 ship.bin": bytes(range(256)) * 64,
}


class Files(Containers):
    def test_an_uploaded_archive_is_run_and_comes_back_byte_for_byte(self):
        cuid = self.create(image=PYTHON_IMAGE, tags=["files"])["cuid"]
        response = upload(cuid, FILES)
        self.assertEqual(response.status_code, 200, response.text)
        answer = response.json()
        size = sum(map(len, FILES.values()))
        self.assertEqual((answer["cuid"], answer["files"], answer["bytes"]), (cuid, len(FILES), size))
        for path, content in FILES.items():
            self.assertEqual(call("GET", f"/containers/{cuid}/download", params={"path": path}).content, content, path)
        self.act(cuid, "start")
        ran = eventually("boot.py ran", lambda: self.text_of(cuid, "ran"))
        self.assertNotEqual(ran, "0", "boot.py ran as root")

    def test_a_folder_comes_down_as_an_archive(self):
        cuid = self.create()["cuid"]
        self.assertEqual(upload(cuid, FILES).status_code, 200)
        response = call("GET", f"/containers/{cuid}/download-zip", params={"path": "data"})
        self.assertEqual((response.status_code, response.headers["Content-Type"]), (200, "application/zip"))
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            self.assertIsNone(archive.testzip())
            contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        expected = {name.removeprefix("data/"): content for name, content in FILES.items() if name.startswith("data/")}
        self.assertEqual(contents, expected)

    def test_a_later_upload_replaces_what_it_names_and_leaves_the_rest(self):
        cuid = self.create()["cuid"]
        self.assertEqual(upload(cuid, {"a": b"1", "b": b"1"}).status_code, 200)
        self.assertEqual(upload(cuid, {"b": b"2"}).status_code, 200)
        self.assertEqual((self.text_of(cuid, "a"), self.text_of(cuid, "/app/b")), ("1", "2"))

    def test_a_broken_archive_is_refused_and_changes_nothing(self):
        cuid = self.create()["cuid"]
        self.assertEqual(upload(cuid, {"a": b"1"}).status_code, 200)
        headers = {"Content-Type": "application/zip"}
        climbing = zipped({"a": b"2", "../escaped": b"x"})
        for what, body in [("no archive", b"PK but no more"), ("one that climbs out", climbing), ("half of one", climbing[:-20])]:
            with self.subTest(what):
                response = call("POST", f"/containers/{cuid}/upload-zip", data=body, headers=headers)
                self.assert_refused(response, 400, "validation_error", "INVALID_ZIP")
                self.assertEqual(self.text_of(cuid, "a"), "1")

    def test_a_file_that_does_not_exist_is_not_found(self):
        cuid = self.create()["cuid"]
        response = call("GET", f"/containers/{cuid}/download", params={"path": "none.txt"})
        self.assert_refused(response, 404, "not_found", "FILE_NOT_FOUND")
