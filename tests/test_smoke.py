from tests.running import Server


def test_an_upload_arrives(server: Server) -> None:
    url = server.create(5)
    assert server.patch(url, 0, b"hello").status == 204
    assert server.path_of(url).read_bytes() == b"hello"
