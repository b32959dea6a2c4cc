/* The list of servers that an application or a person gives. */
#include "fuzz.h"

#include "servers.h"

static void check_again(const struct server_list *list)
{
	struct server_list again;
	struct buffer text;
	bool fits = true;
	enum error e;

	CHECK(list->count > 0 && list->count <= SERVER_LIST_MAX);
	buffer_init(&text, (WIRE_ADDRESS_MAX_BYTES + 1) * SERVER_LIST_MAX + 1);
	for (uint32_t i = 0; i < list->count; i++) {
		CHECK(strlen(list->addresses[i]) < WIRE_ADDRESS_MAX_BYTES);
		CHECK(strpbrk(list->addresses[i], ", /\n\t") == NULL);
		fits = fits && buffer_append(&text, bytes_of_text(list->addresses[i])) &&
		       buffer_append(&text, bytes_of_text(","));
	}
	fits = fits && buffer_append(&text, (struct bytes){(const uint8_t *)"", 1});
	CHECK(fits);
	e = server_list_parse((const char *)text.data, &again, NULL);
	CHECK(e == ERROR_OK && again.count == list->count);
	for (uint32_t i = 0; i < list->count; i++)
		CHECK(strcmp(again.addresses[i], list->addresses[i]) == 0);
	server_list_release(&again);
	buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = bytes_to_text((struct bytes){data, size});
	struct chubby_error error = {.code = CHUBBY_OK};
	struct server_list list;

	if (server_list_parse(text, &list, &error) == ERROR_OK) {
		check_again(&list);
		server_list_release(&list);
	} else {
		CHECK(error.code == CHUBBY_INVALID_ARGUMENT && error.message[0] != '\0');
	}
	free(text);
	return 0;
}
