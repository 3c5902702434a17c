#!/usr/bin/env bash
# run.sh CLIENT COMMAND...: the driver with the jars of one version. The flags of the JVM make it start fast and stay small.
client=$1
shift
exec java -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
  -cp "$CACHE/$client/classes:$CACHE/$client/libs/*" Driver "$@"
