/* link_pages.c - the catalogue, the forms of links, and the settings lists. */
#include "api/page.h"

enum api_step page_catalogue(struct page *page)
{
    page_begin(page, "Integrations");
    return page_end(page, 200);
}
enum api_step page_link_form(struct page *page)
{
    page_begin(page, "Link");
    return page_end(page, 200);
}
enum api_step page_link_create(struct page *page)
{
    return page_link_form(page);
}
enum api_step page_link_delete(struct page *page)
{
    return page_link_form(page);
}
enum api_step page_settings(struct page *page)
{
    return page_catalogue(page);
}
enum api_step page_team(struct page *page)
{
    return page_catalogue(page);
}
enum api_step page_user(struct page *page)
{
    return page_catalogue(page);
}
