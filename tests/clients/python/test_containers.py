"""Containers through requests: creation with all that the guide asks for, refusals, pages, changes, control actions."""

import socket
import uuid

import requests

from support import AUTHORIZATION, BASE_URL, NOBODY, PATIENCE, PYTHON_IMAGE, Containers, call, eventually, free_port

# Leaves its environment where the test can download it, and stays.
SHOW_ENVIRONMENT = ["sh", "-c", "env >/app/env.new && mv /app/env.new /app/env && exec sleep 1000"]


class Creation(Containers):
    def test_a_container_is_created_with_everything_that_the_guide_asks_for(self):
        port = free_port()
        asked = {
            "image": PYTHON_IMAGE,
            "env": {"APP_ENV": "production", "DEBUG": "false"},
            "tags": ["web", "production"],
            "resources": {"cpus": 1.0, "memory": "4096m", "pids": 2048},
            "ports": [{"host": port, "container": 80, "protocol": "tcp"}],
        }
        container = self.create(**asked)
        self.assertEqual(str(uuid.UUID(container["cuid"][1:], version=4)), container["cuid"][1:])
        self.assertEqual(container["status"], "created")
        shown = call("GET", f"/containers/{container['cuid']}").json()
        self.assertEqual(shown, container)
        self.assertEqual({field: shown[field] for field in asked}, asked)

    def test_env_values_and_tags_arrive_in_the_container_as_they_were_sent(self):
        env = {"PLAIN": "x", "DOLLARS": "$HOME ${X:-y} $$", "QUOTES": "'\" # : -", "SHIP": "🚢"}
        cuid = self.run_container(command=SHOW_ENVIRONMENT, env=env, tags=["a", "b"])
        seen = eventually("the container wrote its environment", lambda: self.text_of(cuid, "env")).splitlines()
        for line in [*(f"{name}={value}" for name, value in env.items()), "TAGS=a,b", f"CONTAINER_UID={cuid}"]:
            self.assertIn(line, seen)

    def test_a_request_without_an_image_gets_the_guides_error_body(self):
        details = self.assert_refused(call("POST", "/containers", json={}), 400, "validation_error", "MISSING_IMAGE")
        self.assertEqual(details, {"field": "image", "provided": None})

    def test_bad_input_is_refused_with_the_name_of_its_field(self):
        for extra, code, field in [
            ({"resources": {"cpu": 1}}, "UNKNOWN_FIELD", "resources.cpu"),
            ({"resources": {"memory": "lots"}}, "INVALID_RESOURCES", "resources.memory"),
            ({"ports": [{"container": 80, "host": 70000}]}, "INVALID_PORT", "ports[0].host"),
            ({"env": {"A=B": "x"}}, "INVALID_ENV", "env.A"),
        ]:
            with self.subTest(code=code, field=field):
                response = call("POST", "/containers", json={"image": PYTHON_IMAGE, **extra})
                self.assertEqual(self.assert_refused(response, 400, "validation_error", code)["field"], field)

    def test_a_name_that_is_taken_is_a_conflict(self):
        name = f"client-{uuid.uuid4()}"
        self.create(name=name)
        response = call("POST", "/containers", json={"image": PYTHON_IMAGE, "name": name})
        details = self.assert_refused(response, 409, "conflict", "CONTAINER_ALREADY_EXISTS")
        self.assertEqual((details["field"], details["provided"]), ("name", name))

    def test_a_port_that_is_taken_is_a_conflict_that_says_which_and_whose(self):
        ports = [{"host": free_port(), "container": 80}]
        first = self.run_container(ports=ports)
        second = self.create(ports=ports, command=["sleep", "1000"])["cuid"]
        response = call("POST", f"/containers/{second}/start")
        details = self.assert_refused(response, 409, "conflict", "PORT_CONFLICT")
        self.assertEqual((details["port"], details["cuid"]), (ports[0]["host"], first))

    def test_wrong_credentials_are_an_auth_error(self):
        wrong = requests.get(f"{BASE_URL}/containers", auth=("nobody", "x"), timeout=PATIENCE)
        self.assert_refused(wrong, 401, "auth_error", "INVALID_CREDENTIALS")
        self.assertTrue(wrong.headers["WWW-Authenticate"].startswith("Basic "))
        missing = requests.get(f"{BASE_URL}/containers", timeout=PATIENCE)
        self.assert_refused(missing, 401, "auth_error", "MISSING_CREDENTIALS")


class Listing(Containers):
    def test_the_pages_behind_next_cursor_give_each_container_once_and_the_newest_first(self):
        tag = f"pages-{uuid.uuid4()}"
        created = [self.create(tags=[tag])["cuid"] for _ in range(5)]
        listed, cursor, sizes = [], None, []
        while cursor or not sizes:
            query = {"tag": tag, "limit": 2} | ({"cursor": cursor} if cursor else {})
            page = call("GET", "/containers", params=query).json()
            self.assertEqual((page["total"], page["limit"]), (5, 2))
            sizes.append(len(page["containers"]))
            listed += [container["cuid"] for container in page["containers"]]
            cursor = page["next_cursor"]
        self.assertEqual(sizes, [2, 2, 1])
        self.assertEqual(listed, created[::-1])

    def test_a_container_that_does_not_exist_is_not_found(self):
        for path in (f"/containers/{NOBODY}", f"/containers/{NOBODY}/status"):
            self.assert_refused(call("GET", path), 404, "not_found", "CONTAINER_NOT_FOUND")
        self.assert_refused(call("GET", "/containers/x"), 400, "validation_error", "INVALID_CUID")


class Changes(Containers):
    def test_a_patch_with_null_removes_an_env_name_in_the_running_container(self):
        env = {"OLD_VAR": "old", "KEPT": "kept"}
        cuid = self.run_container(command=SHOW_ENVIRONMENT, env=env, tags=["first"], resources={"memory": "64m", "pids": 64})
        eventually("the container wrote its environment", lambda: "OLD_VAR=old" in self.text_of(cuid, "env"))
        change = {"env": {"NEW_VAR": "value", "OLD_VAR": None}, "tags": ["updated", "v2"], "resources": {"memory": "128m"}}
        response = call("PATCH", f"/containers/{cuid}", json=change)
        self.assertEqual(response.status_code, 200, response.text)
        container = response.json()
        self.assertEqual(container["env"], {"KEPT": "kept", "NEW_VAR": "value"})
        self.assertEqual((container["tags"], container["status"]), (["updated", "v2"], "running"))
        self.assertEqual((container["resources"]["memory"], container["resources"]["pids"]), ("128m", 64))
        eventually("the container was started anew", lambda: "NEW_VAR=value" in self.text_of(cuid, "env"))
        seen = self.text_of(cuid, "env").splitlines()
        self.assertTrue({"KEPT=kept", "TAGS=updated,v2"} <= set(seen), seen)
        self.assertFalse([line for line in seen if line.startswith("OLD_VAR")], seen)

    def test_ports_are_replaced(self):
        cuid = self.create(ports=[{"host": free_port(), "container": 80}])["cuid"]
        ports = [
            {"host": free_port(), "container": 3000, "protocol": "tcp"},
            {"host": free_port(socket.SOCK_DGRAM), "container": 9000, "protocol": "udp"},
        ]
        response = call("PATCH", f"/containers/{cuid}/ports", json={"ports": ports})
        self.assertEqual(response.status_code, 200, response.text)
        self.assertEqual(response.json()["ports"], ports)
        self.assertEqual(call("GET", f"/containers/{cuid}").json()["ports"], ports)

    def test_a_published_port_reaches_the_program(self):
        port = free_port()
        serve = ["python3", "-c", "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=80)"]
        cuid = self.run_container(image=PYTHON_IMAGE, command=serve, ports=[{"host": port, "container": 80}])

        def answers():
            try:
                return requests.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).status_code == 200
            except requests.ConnectionError:
                return False

        eventually(f"the program in {cuid} answers on port {port}", answers)


class Control(Containers):
    def test_control_actions_answer_once_the_status_is_reached(self):
        cuid = self.create(command=["sleep", "1000"])["cuid"]
        for action, status, changed in [
            ("start", "running", True),
            ("start", "running", False),
            ("pause", "paused", True),
            ("unpause", "running", True),
            ("restart", "running", True),
            ("stop", "exited", True),
            ("stop", "exited", False),
        ]:
            with self.subTest(action=action):
                answer = self.act(cuid, action)
                self.assertEqual((answer["cuid"], answer["status"], answer["changed"]), (cuid, status, changed))
                self.assertTrue(answer["message"])
                self.assertEqual(call("GET", f"/containers/{cuid}/status").json()["status"], status)

    def test_an_action_that_makes_no_sense_is_a_state_error(self):
        cuid = self.create()["cuid"]
        details = self.assert_refused(call("POST", f"/containers/{cuid}/pause"), 422, "state_error", "INVALID_STATE")
        self.assertEqual((details["status"], details["allowed"]), ("created", ["running"]))

    def test_the_status_of_a_container_that_ended_has_its_exit_code(self):
        cuid = self.run_container(command=["sh", "-c", "exit 3"])

        def ended():
            state = call("GET", f"/containers/{cuid}/status").json()
            return state if state["status"] == "exited" else None

        state = eventually("the container ended", ended)
        self.assertEqual(state["exit_code"], 3)
        self.assertTrue(state["started_at"] and state["finished_at"])

    def test_a_running_container_is_deleted_only_by_force(self):
        cuid = self.run_container()
        self.assert_refused(call("DELETE", f"/containers/{cuid}"), 422, "state_error", "CONTAINER_RUNNING")
        response = call("DELETE", f"/containers/{cuid}", params={"force": "true"})
        self.assertEqual((response.status_code, response.json()["status"]), (200, "deleted"))
        self.assert_refused(call("GET", f"/containers/{cuid}"), 404, "not_found", "CONTAINER_NOT_FOUND")


class Health(Containers):
    def test_the_health_check_names_composes_version(self):
        with requests.Session() as session:
            session.headers.update(AUTHORIZATION)
            response = session.get(f"{BASE_URL}/healthz", timeout=5)
        self.assertEqual(response.status_code, 200, response.text)
        self.assertRegex(response.json()["compose_version"], r"^v?[2-9]\.\d+")
