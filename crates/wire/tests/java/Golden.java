// Writes what Apache Kafka's own classes make of its messages, for `golden.rs` to compare with.
//
// Every message at every version three times: with its defaults, with every field set, and with null wherever the
// version allows null. Which fields a version has is asked of the classes' own SCHEMAS. From the root of the
// workspace, after `cargo run -p xtask -- codegen` has fetched the jars into the target directory:
//
//   mvn -q dependency:copy -Dartifact=org.slf4j:slf4j-api:1.7.36 -DoutputDirectory=target/codegen
//   java -cp 'target/codegen/*' crates/wire/tests/java/Golden.java > crates/wire/tests/golden.txt

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

@SuppressWarnings("unchecked")
public class Golden {
    enum Fill { DEFAULT, FULL, NULL }

    static long counter;

    public static void main(String[] arguments) throws Exception {
        System.out.println("# Made by Apache Kafka's classes; crates/wire/tests/java/Golden.java says how. Lines:");
        System.out.println("# error NUMBER NAME RETRIABLE");
        System.out.println("# api NUMBER NAME ON_BROKER ON_CONTROLLER HEADERS, as version:request:response;");
        System.out.println("# row NUMBER MIN MAX, as a broker advertises it");
        System.out.println("# default|full|null MESSAGE VERSION BYTES");
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            System.out.println("error " + error.code() + " " + error + " " + retriable);
        }
        for (ApiKeys key : ApiKeys.values()) {
            api(key);
        }
        for (var message : messages().entrySet()) {
            golden(message.getKey(), message.getValue());
        }
    }

    static void api(ApiKeys key) {
        StringBuilder headers = new StringBuilder();
        for (short version = key.oldestVersion(); version <= key.latestVersion(); version++) {
            headers.append(version + ":" + key.requestHeaderVersion(version) + ":" + key.responseHeaderVersion(version) + ";");
        }
        boolean broker = key.inScope(ListenerType.BROKER), controller = key.inScope(ListenerType.CONTROLLER);
        System.out.println("api " + key.id + " " + key.name + " " + broker + " " + controller + " " + headers);
        if (broker) {
            key.toApiVersionForApiResponse(false, ListenerType.BROKER).ifPresent(row ->
                System.out.println("row " + row.apiKey() + " " + row.minVersion() + " " + row.maxVersion()));
        }
    }

    /** The classes of all messages and records, by the names of their schemas. */
    static TreeMap<String, Class<?>> messages() throws Exception {
        TreeMap<String, Class<?>> found = new TreeMap<>();
        for (String path : System.getProperty("java.class.path").split(":")) {
            try (JarFile jar = new JarFile(path)) {
                for (var entry : (Iterable<java.util.jar.JarEntry>) jar.stream()::iterator) {
                    String name = entry.getName();
                    if (name.matches("org/apache/kafka/(common/(message|metadata)|.*/generated)/[A-Za-z0-9]+[.]class")
                            && !name.endsWith("JsonConverter.class")) {
                        Class<?> type = Class.forName(name.substring(0, name.length() - 6).replace('/', '.'));
                        if (Message.class.isAssignableFrom(type) && !type.isInterface()) {
                            found.put(type.getSimpleName().replaceFirst("(Request|Response|Header)Data$", "$1"), type);
                        }
                    }
                }
            }
        }
        return found;
    }

    static void golden(String name, Class<?> type) throws Exception {
        short lowest = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
        short highest = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
        for (short version = lowest; version <= highest; version++) {
            String before = "";
            for (Fill fill : Fill.values()) {
                Message message = (Message) type.getDeclaredConstructor().newInstance();
                counter = 0;
                if (fill != Fill.DEFAULT) {
                    fill(message, version, fill);
                }
                String bytes = bytes(message, version);
                if (bytes != null && !bytes.equals(before)) {
                    System.out.println(fill.name().toLowerCase() + " " + name + " " + version + " " + bytes);
                }
                before = bytes;
            }
        }
    }

    /** The message as hexadecimal digits; null if its defaults cannot be written. */
    static String bytes(Message message, short version) {
        try {
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(buffer), cache, version);
            return buffer.position() == 0 ? "-" : HexFormat.of().formatHex(buffer.array(), 0, buffer.position());
        } catch (NullPointerException error) {
            return null;
        }
    }

    static void fill(Object target, short version, Fill fill) throws Exception {
        Schema schema = ((Schema[]) target.getClass().getField("SCHEMAS").get(null))[version];
        for (BoundField field : schema.fields()) {
            if (field.def.type instanceof TaggedFields tagged) {
                for (var inner : tagged.fields().values()) {
                    set(target, inner.name, inner.type, version, fill);
                }
            } else {
                set(target, field.def.name, field.def.type, version, fill);
            }
        }
    }

    static void set(Object target, String name, org.apache.kafka.common.protocol.types.Type kind, short version, Fill fill)
        throws Exception {
        for (Field field : target.getClass().getDeclaredFields()) {
            boolean same = field.getName().equalsIgnoreCase(name.replace("_", ""));
            if (same && !Modifier.isStatic(field.getModifiers())) {
                field.setAccessible(true);
                Object value = null;
                if (kind == org.apache.kafka.common.protocol.types.Type.UINT16) {
                    // An int in Java.
                    value = 60_000 + (int) ++counter;
                } else if (!kind.isNullable() || fill != Fill.NULL) {
                    value = value(field.getType(), field.getGenericType(), field.get(target), version, fill);
                }
                field.set(target, value);
                return;
            }
        }
        throw new IllegalStateException(target.getClass() + " has no field " + name);
    }

    static Object value(Class<?> type, Type generic, Object old, short version, Fill fill) throws Exception {
        long number = ++counter * 0x9e3779b97f4a7c15L;
        if (type == boolean.class) return !Boolean.TRUE.equals(old);
        if (type == byte.class || type == Byte.class) return (byte) (number >> 32);
        if (type == short.class || type == Short.class) return (short) (number >> 32);
        if (type == int.class || type == Integer.class) return (int) (number >> 32);
        if (type == long.class || type == Long.class) return number;
        if (type == double.class) return number / 1024.0;
        if (type == String.class) return "s" + counter + (counter % 31 == 0 ? "\u20ac".repeat(60) : "");
        if (type == Uuid.class) return new Uuid(number, ~number);
        if (type == byte[].class) return bytes(number);
        if (type == ByteBuffer.class) return ByteBuffer.wrap(bytes(number));
        if (type == BaseRecords.class) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(number)));
        if (type == List.class) {
            Type element = ((ParameterizedType) generic).getActualTypeArguments()[0];
            return elements(new ArrayList<>(), (Class<?>) element, version, fill);
        }
        if (Collection.class.isAssignableFrom(type)) {
            Type element = ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
            return elements((Collection) type.getDeclaredConstructor().newInstance(), (Class<?>) element, version, fill);
        }
        Object struct = type.getDeclaredConstructor().newInstance();
        fill(struct, version, fill);
        return struct;
    }

    static byte[] bytes(long number) {
        return ByteBuffer.allocate(8).putLong(number).array();
    }

    static Collection<Object> elements(Collection<Object> into, Class<?> element, short version, Fill fill) throws Exception {
        for (int count = 0; count < (fill == Fill.FULL ? 2 : 1); count++) {
            into.add(value(element, element, null, version, fill));
        }
        return into;
    }
}
