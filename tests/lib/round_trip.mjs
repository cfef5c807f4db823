// What a person does with the pages, in a real browser: playwright-core and the machine's Chromium. Reads its plan as JSON
// from the command line, writes what it saw as JSON. Pictures go to plan.pictures, if there is such a folder.
import { chromium } from 'playwright-core';

const plan = JSON.parse(process.argv[2]);
const seen = { errors: [], titles: [], alerts: 0 };
const browser = await chromium.launch({ executablePath: plan.chromium, args: ['--no-sandbox', '--disable-gpu'] });
const page = await (await browser.newContext({ viewport: { width: 900, height: 700 } })).newPage();
page.on('console', (m) => { if (m.type() === 'error' && !m.text().startsWith('Failed to load resource') && page.url().startsWith(plan.admin)) seen.errors.push(m.text()); });
page.on('dialog', (d) => { seen.alerts++; d.dismiss(); });
const picture = async (name) => {
    seen.titles.push(await page.title());
    if (plan.pictures) await page.screenshot({ path: `${plan.pictures}/${name}.png`, fullPage: true });
};
try {
    await page.goto(plan.admin + '/auth/idp');
    await picture('login');
    await page.getByLabel('API token').fill(plan.token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.waitForURL((url) => url.href.startsWith(plan.issuer));
    await page.locator('input[name=login]').fill('ann-1');
    await page.locator('input[name=password]').fill('x');
    await page.locator('button[type=submit]').click();
    await page.locator('button[type=submit]').click();
    await page.waitForURL(plan.admin + '/settings');
    await picture('connected');
    seen.status = await page.getByRole('status').textContent();
    await page.getByRole('link', { name: 'Integrations' }).click();
    await picture('integrations');
    await page.locator('a[href="/integrations/github/link"]').click();
    await page.getByLabel('Repository').fill('"><script>alert(1)</script>');
    await page.getByRole('button', { name: 'Link GitHub' }).click();
    await page.getByRole('alert').first().waitFor();
    await picture('refused');
    seen.refused = await page.getByRole('alert').first().textContent();
    await page.getByLabel('Repository').fill('hello');
    await page.getByRole('button', { name: 'Link GitHub' }).click();
    await page.waitForURL(plan.admin + '/teams/core/settings');
    await picture('team');
    seen.links = await page.locator('ul.cards li').count();
    seen.wide = []; // what a telephone would have to be pushed about for
    await page.setViewportSize({ width: 360, height: 640 });
    for (const path of ['/settings', '/integrations', '/integrations/github/link', '/integrations/generic/link', '/teams/core/settings']) {
        await page.goto(plan.admin + path);
        if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) seen.wide.push(path);
    }
    await picture('narrow');
    await page.setViewportSize({ width: 900, height: 700 });
    await page.getByRole('button', { name: 'Remove GitHub' }).click();
    await page.getByRole('status').waitFor();
    seen.linksAfter = await page.locator('ul.cards li').count();
    if (plan.disconnect) {
        await page.goto(plan.admin + '/settings');
        await page.getByRole('button', { name: 'Disconnect' }).click();
        await page.getByRole('status').waitFor();
        seen.disconnected = await page.getByRole('status').textContent();
    }
    seen.script = await page.evaluate(() => document.scripts.length);
} catch (error) {
    seen.failed = String(error).slice(0, 1500) + ' at ' + page.url();
    if (plan.pictures) await page.screenshot({ path: `${plan.pictures}/failed.png` });
}
await browser.close();
process.stdout.write(JSON.stringify(seen) + '\n');
