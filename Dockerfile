# The services of Antiphon and its command line: one image, one command each.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Of each library exactly one version, by its hash (make lock).  Libraries first: they
# change less often than the code, and stay in the layer cache.
COPY deploy/build.lock deploy/requirements.lock deploy/
RUN python3 -m venv tools \
    && tools/bin/pip install --require-hashes --no-deps -r deploy/build.lock \
    && python3 -m venv --without-pip /opt/antiphon \
    && tools/bin/pip --python /opt/antiphon/bin/python install --require-hashes --no-deps -r deploy/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY services /opt/antiphon/app/services
RUN tools/bin/pip wheel --no-build-isolation --no-deps --wheel-dir wheels . \
    && tools/bin/pip --python /opt/antiphon/bin/python install --no-index --no-deps wheels/*.whl \
    && /opt/antiphon/bin/python -m compileall -q /opt/antiphon/app

FROM ${PYTHON}
# /var/lib/antiphon is for what a service keeps; a volume that is new there is the user's.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin antiphon \
    && install -d -o antiphon -g antiphon -m 0750 /var/lib/antiphon
COPY --from=build /opt/antiphon /opt/antiphon
WORKDIR /opt/antiphon/app
ENV PATH=/opt/antiphon/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ANTIPHON_HTTP_HOST=0.0.0.0 ANTIPHON_HTTP_PORT=8080
# As a number, so that an orchestrator can see that it is not root.
USER 10001
EXPOSE 8080 8090
# Ready means: connected to the broker, each cache vouched for, each store answering, the
# archive up to date.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "services.healthcheck"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "services.invalidator"]
