FROM python:3.13-slim

# For the type of finished files.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmagic1 \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /src/
COPY tusd_py /src/tusd_py
RUN pip install --no-cache-dir /src && rm -rf /src

# Flags can be added to `docker run`; the directory is the one that tusd's image uses.
ENV TUSD_PY_UPLOAD_DIR=/srv/tusd-data/data
RUN groupadd --gid 1000 tusd \
 && useradd --uid 1000 --gid tusd --no-create-home --home-dir /srv/tusd-data --shell /usr/sbin/nologin tusd \
 && mkdir /srv/tusd-data \
 && chown tusd:tusd /srv/tusd-data
USER tusd
WORKDIR /srv/tusd-data
VOLUME /srv/tusd-data
EXPOSE 8080

# The check asks the port of TUSD_PY_PORT; change the port there, not with -port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('TUSD_PY_PORT', '8080') + '/health', timeout=4)"]

ENTRYPOINT ["tusd-py"]
