# The services of Antiphon: one image, one command each.
FROM python:3.12-slim AS build
WORKDIR /build
RUN python3 -m venv /opt/antiphon
# Libraries first: they change less often than the code, and stay in the layer cache.
COPY pyproject.toml README.md LICENSE ./
COPY src/antiphon/__init__.py src/antiphon/__init__.py
RUN /opt/antiphon/bin/pip install --no-cache-dir --disable-pip-version-check '.[services]'
COPY src src
RUN /opt/antiphon/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --force-reinstall .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin antiphon
COPY --from=build /opt/antiphon /opt/antiphon
WORKDIR /app
COPY services services
ENV PATH=/opt/antiphon/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ANTIPHON_HTTP_HOST=0.0.0.0 ANTIPHON_HTTP_PORT=8080
USER antiphon
EXPOSE 8080 8090
# Ready means: connected to the broker, each cache vouched for, each store answering.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "services.healthcheck"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "services.invalidator"]
